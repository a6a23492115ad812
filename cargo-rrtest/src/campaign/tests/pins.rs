//! Campaigns with pins.

use rrtest_engine::Error;
use rrtest_engine::schedule::StrategyName;

use super::{FAIL, PASS, Run, Script, campaign_at, schedule, test};
use crate::attempt::pins::PinCounts;
use crate::build::instrument::Level;
use crate::campaign::agenda::{Agenda, Subject};
use crate::ending::outcome::Outcome;
use crate::pins::file::{self, Pin};
use crate::pins::find::Pinned;

/// A pin of test `t` that needs no preemption, found at this level.
fn pinned(preempt: Level) -> Pinned {
    let pin = Pin { preempt, windows: vec![], schedule: Default::default(), ..file::sample() };
    Pinned { file: "rrtest-pins/t-1.toml".into(), pin }
}

fn with_pins(pins: Vec<Pinned>, script: Script) -> Run {
    let subject =
        Subject { tests: vec![test("t", "t")], pins, ignored: vec![], level: Level::Sync, other: None };
    campaign_at(subject, Agenda { runs: Some(2), ..schedule() }, script, true)
}

#[test]
fn pins_are_tried_before_other_attempts_and_take_none_of_these() {
    let script: Script = |_, number| Ok(if number == 1 { FAIL } else { PASS });
    let fails = with_pins(vec![pinned(Level::Sync)], script);
    let outcomes: Vec<_> = fails.seen.iter().map(|(_, outcome, kept)| (*outcome, *kept)).collect();
    assert_eq!(outcomes, [(Outcome::Failed, true), (Outcome::Passed, false), (Outcome::Passed, false)]);
    let names: Vec<_> = fails.plans.iter().map(|plan| plan.strategy).collect();
    assert_eq!((names.len(), names[0]), (3, StrategyName::Scripted));
    assert!(!names[1..].contains(&StrategyName::Scripted));
    let summary = fails.summary.expect("a summary");
    assert_eq!((summary.failures, summary.pins), (1, PinCounts { fail: 1, ..PinCounts::default() }));
    let without = with_pins(vec![], |_, _| Ok(PASS)).plans;
    assert_eq!(fails.plans[1..], without, "what is random in the others does not depend on pins");
}

#[test]
fn a_pin_that_holds_is_no_attempt() {
    let holds = with_pins(vec![pinned(Level::Sync)], |_, _| Ok(PASS));
    assert_eq!((holds.seen.len(), holds.plans.len()), (2, 3));
    let summary = holds.summary.expect("a summary");
    assert_eq!((summary.attempts, summary.pins), (2, PinCounts { hold: 1, ..PinCounts::default() }));
}

#[test]
fn a_pin_without_its_build_is_not_tried_and_an_error_of_ours_does_not_hold() {
    let other = with_pins(vec![pinned(Level::Memory)], |_, _| Ok(PASS));
    assert_eq!((other.plans.len(), other.summary.expect("a summary").pins), (2, PinCounts::default()));
    let script: Script = |_, number| match number {
        1 => Err(Error::Bug { what: "no".into() }),
        _ => Ok(PASS),
    };
    let summary = with_pins(vec![pinned(Level::Sync)], script).summary.expect("a summary");
    assert_eq!((summary.errors, summary.pins), (1, PinCounts::default()));
}
