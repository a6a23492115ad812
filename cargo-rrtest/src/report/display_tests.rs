//! What people read.

use super::*;
use crate::attempt::events::Kept;
use crate::attempt::events::samples::attempt;

fn written(attempt: &Attempt) -> String {
    let mut text = Vec::new();
    write_attempt(
        &mut text,
        attempt,
        Manner { detail: Detail::Verbose, shown: Shown::OfFailures, repeats: true },
    )
    .expect("memory");
    anstream::adapter::strip_bytes(&text).into_vec().try_into().expect("text")
}

#[test]
fn a_trace_elsewhere_is_replayed_by_its_path() {
    let kept = Kept { path: "/some traces/x.rrtrace".into(), verified: true, by_name: false };
    let text = written(&Attempt { trace: Some(kept), ..attempt() });
    assert!(text.contains("cargo rrtest replay '/some traces/x.rrtrace'\n"), "{text}");
}

#[test]
fn a_trace_that_does_not_replay_is_not_offered_for_replay() {
    let text = written(&Attempt {
        outcome: Outcome::Error,
        trace: Some(Kept { path: "/traces/x.rrtrace".into(), verified: false, by_name: true }),
        message: Some("its trace does not replay".into()),
        ..attempt()
    });
    assert!(text.contains("ERROR") && text.contains("its trace does not replay"), "{text}");
    assert!(!text.contains("cargo rrtest replay"), "{text}");
}

#[test]
fn a_repeated_failure_is_one_line_more() {
    let text = written(&Attempt { repeats: Some(3), trace: None, ..attempt() });
    assert_eq!(text.lines().count(), 2, "{text}");
}
