//! What people read.

use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::ending::{Ending, Stats};
use rrtest_engine::program::Program;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::event::Stream;

use super::*;
use crate::discover::Test;
use crate::events::Kept;
use crate::instrument::Level;
use crate::seed::Seed;

fn attempt() -> Attempt {
    let program = Program { path: "/t".into(), args: vec![], env: vec![], cwd: "/".into() };
    let test = Test { package: "p".into(), binary: "p::it".into(), name: "t".into(), program, harness: true };
    Attempt {
        test: Arc::new(test),
        number: 3,
        seed: Seed(0xabc),
        strategy: StrategyName::Walk,
        level: Level::Sync,
        outcome: Outcome::Failed,
        ending: Some(Ending::Exited(101)),
        output: vec![(Stream::Stdout, b"one\n".into()), (Stream::Stderr, b"two\n".into())],
        stats: Stats { ticks: 522, preemptions: 1, syscalls: 9, tasks: 3 },
        wall: Duration::from_millis(4),
        trace: Some(Kept { path: "/traces/p-it-t-abc.rrtrace".into(), verified: true }),
        repeats: false,
        message: None,
    }
}

fn written(attempt: &Attempt) -> String {
    let mut text = Vec::new();
    write_attempt(&mut text, attempt, true).expect("memory");
    anstream::adapter::strip_bytes(&text).into_vec().try_into().expect("text")
}

#[test]
fn a_failure_says_all_that_is_needed_to_go_on() {
    assert_eq!(
        written(&attempt()),
        "        FAIL [   0.004s] p::it t (attempt 3)
  output ───
    one
    two
  ──────────
    exit code 101
     attempt 3, seed 0x0000000000000abc, strategy walk, preempt sync: 522 ticks, 1 preemption
       trace /traces/p-it-t-abc.rrtrace (verified)
      replay cargo rrtest replay p-it-t-abc

"
    );
}

#[test]
fn a_trace_that_does_not_replay_is_not_offered_for_replay() {
    let text = written(&Attempt {
        outcome: Outcome::Error,
        trace: Some(Kept { path: "/traces/x.rrtrace".into(), verified: false }),
        message: Some("its trace does not replay".into()),
        ..attempt()
    });
    assert!(text.contains("ERROR") && text.contains("its trace does not replay"), "{text}");
    assert!(!text.contains("cargo rrtest replay"), "{text}");
}

#[test]
fn a_repeated_failure_is_one_line_more() {
    let text = written(&Attempt { repeats: true, trace: None, ..attempt() });
    assert_eq!(text.lines().count(), 2, "{text}");
}
