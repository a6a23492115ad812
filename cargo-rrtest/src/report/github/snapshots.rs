//! What GitHub is told, as it is read there.

use std::sync::Arc;

use insta::assert_snapshot;
use rrtest_engine::trace::event::Stream;

use super::*;
use crate::attempt::events::samples::{self, attempt, written};
use crate::attempt::events::{Attempt, NeverEnded};
use crate::discover::test::{self, Test};
use crate::ending::outcome::Outcome;

fn named(name: &str) -> Arc<Test> {
    Arc::new(Test { name: Some(name.into()), ..test::sample() })
}

fn failed(name: &str, output: &str) -> RunEvent {
    RunEvent::Attempt(Box::new(Attempt {
        test: named(name),
        output: written(&[(Stream::Stderr, output)]),
        ..attempt()
    }))
}

/// A report of these events, up to the summary.
fn report(events: &[RunEvent], summary: &Summary) -> GitHub {
    let mut github = GitHub::new(runner::sample(), Sources::new(None, "/".as_ref()));
    events.iter().for_each(|event| github.report(event).expect("nothing is written yet"));
    github.tally.count(&RunEvent::Summary(summary.clone()));
    summary.never_ended.iter().for_each(|never| github.failures.never_ended(never, &github.sources));
    github
}

fn markdown(github: &GitHub, summary: &Summary, room: usize) -> String {
    step_summary::markdown(summary, &github.tally, &github.failures, &github.runner, room)
}

const PANIC: &str = "running 1 test\n\nthread 't' panicked at src/lib.rs:1:2:\nassertion `left == right` failed\n  left: 1\n right: 2\n";

#[test]
fn a_run_with_failures() {
    let passed = Attempt { outcome: Outcome::Passed, trace: None, ..attempt() };
    let explained = Attempt { test: named("explained"), ..attempt() };
    let events = [
        failed("t", PANIC),
        RunEvent::Attempt(Box::new(passed)),
        failed(
            "`odd|name`",
            "thread 'x' panicked at src/lib.rs:1:2:\n```\n::error::no\n\x1b[1mbold\x1b[0m\n",
        ),
        RunEvent::Attempt(Box::new(explained)),
        RunEvent::Explained(Box::new(samples::explained("explained"))),
    ];
    let never = NeverEnded { test: named("slow"), attempts: 1 };
    let summary = Summary {
        attempts: 4,
        passed: 1,
        failures: 3,
        never_ended: vec![never],
        ..Summary::of_none(4, false)
    };
    let github = report(&events, &summary);
    assert_snapshot!("annotations", github.annotations());
    assert_snapshot!("summary", markdown(&github, &summary, 1 << 20));
    assert_eq!(
        github.outputs(),
        [
            ("failed", "4".to_owned()),
            ("traces", ["/traces/p-it-t-abc.rrtrace"; 3].join("\n")),
            ("seed", "0x0000000000000abc".to_owned())
        ]
    );
}

#[test]
fn a_run_without_failures() {
    let summary = Summary { attempts: 9, passed: 9, ..Summary::of_none(3, false) };
    let github = report(&[], &summary);
    assert_eq!(github.annotations(), "");
    assert_eq!(
        markdown(&github, &summary, 1 << 20),
        "## cargo rrtest: 9 attempts of 3 tests: none failed\n\n"
    );
}

#[test]
fn many_failures_keep_within_the_limits() {
    let events: Vec<_> = (0..300)
        .map(|number| failed(&format!("t{number}"), &format!("{PANIC}{}", "a long line\n".repeat(5000))))
        .collect();
    let summary = Summary { attempts: 300, failures: 300, ..Summary::of_none(300, false) };
    let github = report(&events, &summary);
    let annotations = github.annotations();
    assert_eq!(annotations.lines().count(), MOST_ANNOTATIONS);
    assert!(
        annotations.ends_with("::291 more tests failed: the summary of this step has them\n"),
        "{annotations}"
    );
    for room in [1 << 20, 100_000, 3000, 100, 0] {
        let text = markdown(&github, &summary, room);
        assert!(text.len() <= room, "{} of {room}", text.len());
        assert!(room < 3000 || text.contains("more there is no room for here"), "{room}: {text}");
    }
}
