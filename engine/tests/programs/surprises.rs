//! What chaos makes calls do.

use crate::common::{PATIENCE, program};
use crate::harness::{STRATEGIES, compile, options, replay_recording, text};
use rrtest_engine::ending::Ending;
use rrtest_engine::record::{self, Time};
use rrtest_engine::schedule::surprise::{Surprise, Surprises};

/// What has struck, and how often the program says that it has.
fn surprised(kind: Surprise, allowed: Surprises) -> Vec<(u32, u32)> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile("surprises", directory.path());
    let program = program(&path, &[kind.as_str()], directory.path());
    let attempt = |seed: u64| {
        let strategy = STRATEGIES[1 + seed as usize % 2];
        let options = options(PATIENCE, strategy, seed);
        let options = record::Options { time: Time::Virtual, surprises: allowed, ..options };
        let recording = record::record(&program, &options).expect("a recording");
        let said = text(&recording);
        assert_eq!(recording.ending, Ending::Exited(0), "{kind:?} {seed}: {said}");
        let (replayed, output) =
            replay_recording(&recording).unwrap_or_else(|error| panic!("{kind:?} {seed}: {error}"));
        assert_eq!((replayed.ending, replayed.stats), (recording.ending, recording.stats), "{kind:?}");
        assert_eq!(output, recording.output, "{kind:?} {seed}");
        let struck = recording.struck.iter().find(|(struck, _)| *struck == kind);
        (struck.map_or(0, |(_, count)| count), said.trim().parse().expect("a number"))
    };
    (0..16).map(attempt).collect()
}

fn check_surprise(kind: Surprise, is_right: fn(u32, u32) -> bool) {
    let counts = surprised(kind, [kind].into_iter().collect());
    assert!(counts.iter().all(|(struck, said)| is_right(*struck, *said)), "{kind:?}: {counts:?}");
    assert!(counts.iter().any(|(_, said)| *said > 0), "{kind:?} never: {counts:?}");
    assert!(counts.iter().any(|(struck, _)| *struck == 0), "{kind:?} always: {counts:?}");
}

#[test]
fn waits_end_for_no_reason() {
    // Others may have been faster than one that was woken so.
    check_surprise(Surprise::Spurious, |struck, said| said <= struck);
}

#[test]
fn epoll_is_interrupted() {
    check_surprise(Surprise::Interrupt, |struck, said| said == struck);
}

#[test]
fn streams_are_read_and_written_in_parts() {
    check_surprise(Surprise::Short, |struck, said| said <= struck);
}

/// Loaded as the machine may be, that happens by itself as well.
#[test]
fn time_limits_run_out_early() {
    check_surprise(Surprise::Early, |_, _| true);
}

#[test]
fn sleeps_last_longer() {
    check_surprise(Surprise::Late, |_, _| true);
}

#[test]
fn nothing_surprises_who_does_not_want_it() {
    for kind in [Surprise::Spurious, Surprise::Interrupt, Surprise::Short] {
        let counts = surprised(kind, Surprises::NONE);
        assert!(counts.iter().all(|counts| *counts == (0, 0)), "{kind:?}: {counts:?}");
    }
}
