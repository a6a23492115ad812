//! The queue alone.

use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::patience::Effort;
use rrtest_engine::record::Orders;
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::portfolio::ROTATION;

use super::{schedule, test};
use crate::attempt::events::{Attempt, samples};
use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::campaign::agenda::Agenda;
use crate::campaign::queue::{At, Queue, Take};
use crate::campaign::registry::Registry;
use crate::campaign::worker::is_as_usual;
use crate::discover::test::Test;
use crate::ending::outcome::Outcome;

/// Returns a queue of these tests, with no other campaign beside it.
fn queue_of(tests: Vec<Test>, agenda: Agenda) -> Queue {
    Queue::new(tests, vec![], Level::Sync, agenda, Registry::default())
}

#[test]
fn a_first_attempt_that_is_cut_off_at_once_is_none() {
    let time = Duration::from_secs(1000);
    let limited = Agenda { runs: None, time: Some(time), ..schedule() };
    let mut queue = queue_of(vec![test("a", "a")], limited);
    let at = || At { test: 0, build: 0, schedule: None };
    assert!(queue.had_no_chance(&at(), Duration::from_millis(999)));
    assert!(!queue.had_no_chance(&at(), Duration::from_secs(1)));
    let Take::Job(taken) = queue.take() else { panic!("there is time") };
    assert_eq!((taken.job.number, queue.never_ended()[0].attempts), (1, 1));
    queue.undo(&taken.at);
    assert_eq!(queue.never_ended()[0].attempts, 0, "it never ran");
    queue.ledger.forget(taken.ticket);
    let Take::Job(taken) = queue.take() else { panic!("there is time") };
    assert_eq!(taken.job.number, 1);
    queue.learn(&taken.at, &Attempt { outcome: Outcome::Passed, ..samples::attempt() });
    assert!(!queue.had_no_chance(&taken.at, Duration::ZERO), "something is known of it");
}

/// An attempt that has passed, in so much time of its own.
fn passed_in(took: Duration) -> Attempt {
    let effort = Effort { computed: took, idled: Duration::ZERO };
    Attempt { outcome: Outcome::Passed, effort, ..samples::attempt() }
}

#[test]
fn a_first_attempt_has_no_chance_in_less_time_than_others_take() {
    let [second, time] = [1, 1000].map(Duration::from_secs);
    let limited = Agenda { runs: None, time: Some(time), ..schedule() };
    let tests = vec![test("a", "a"), test("b", "b")];
    let mut queue = queue_of(tests, limited);
    let at = |test| At { test, build: 0, schedule: None };
    queue.learn(&at(0), &passed_in(second * 7));
    assert!(queue.had_no_chance(&at(1), second * 7 - Duration::from_nanos(1)));
    assert!(!queue.had_no_chance(&at(1), second * 7));
    queue.learn(&at(0), &passed_in(time));
    assert!(!queue.had_no_chance(&at(1), time / 2), "of half of all time it can be expected");
}

#[test]
fn what_was_given_up_without_a_verdict_has_shown_nothing() {
    let mut queue = queue_of(vec![test("a", "a")], Agenda { runs: None, ..schedule() });
    let Take::Job(taken) = queue.take() else { panic!("there is no limit") };
    queue.give_up_attempt(&taken.at);
    assert_eq!(queue.never_ended()[0].attempts, 0);
    let Take::Job(taken) = queue.take() else { panic!("there is no limit") };
    assert_eq!(taken.job.number, 1);
    queue.learn(&taken.at, &passed_in(Duration::from_millis(1)));
    let Take::Job(taken) = queue.take() else { panic!("there is no limit") };
    queue.give_up_attempt(&taken.at);
    assert_eq!(queue.tests[0].attempts, 2, "one has passed before");
}

#[test]
fn an_attempt_that_would_be_cut_off_is_not_begun() {
    let time = Duration::from_secs(1000);
    let limited = Agenda { runs: None, time: Some(time), ..schedule() };
    let tests = vec![test("a", "a"), test("b", "b")];
    let mut queue = queue_of(tests, limited);
    queue.learn(&At { test: 0, build: 0, schedule: None }, &passed_in(time * 2));
    queue.learn(&At { test: 1, build: 0, schedule: None }, &passed_in(time / 10));
    assert_eq!([0, 1].map(|test| queue.wants(test)), [false, true]);
    for number in 1..=3 {
        let Take::Job(taken) = queue.take() else { panic!("b has time enough") };
        assert_eq!((taken.at.test, taken.job.number), (1, number));
        queue.ledger.forget(taken.ticket);
        queue.learn(&taken.at, &passed_in(time / 10));
    }
    queue.deadline = queue.deadline.map(|deadline| deadline - time);
    assert!(matches!(queue.take(), Take::Nothing), "nothing would end in time");
}

#[test]
fn what_is_cut_off_as_soon_as_others_ended_is_not_told() {
    let passed = Attempt { outcome: Outcome::Passed, ..samples::attempt() };
    let unfinished = |ms| Attempt {
        outcome: Outcome::Unfinished,
        effort: Effort { computed: Duration::from_millis(ms), idled: Duration::ZERO },
        ..samples::attempt()
    };
    let mut queue = queue_of(vec![test("a", "a")], Agenda { runs: None, ..schedule() });
    assert!(!is_as_usual(&unfinished(1), queue.tests[0].patience(0)), "nothing is known");
    queue.learn(&At { test: 0, build: 0, schedule: None }, &passed);
    assert!(is_as_usual(&unfinished(4), queue.tests[0].patience(0)));
    assert!(!is_as_usual(&unfinished(5), queue.tests[0].patience(0)));
    assert!(!is_as_usual(&passed, queue.tests[0].patience(0)));
    queue.join(vec![test("a", "a")], Level::Memory);
    assert!(is_as_usual(&unfinished(40), queue.tests[0].patience(1)), "another build may be slower");
}

#[test]
fn guided_attempts_join_late_and_take_nobody_s_turn() {
    let unlimited = Agenda { runs: None, ..schedule() };
    let mut queue = queue_of(vec![test("a", "a")], unlimited);
    let mut strategy = || {
        let Take::Job(taken) = queue.take() else { panic!("there is no limit") };
        queue.ledger.forget(taken.ticket);
        taken.job.seed.plan(&[]).strategy
    };
    let early: Vec<_> = (0..1000).map(|_| strategy()).collect();
    assert!(!early.contains(&StrategyName::Guided));
    let late: Vec<_> = (0..72).map(|_| strategy()).collect();
    assert_eq!(late.iter().filter(|it| **it == StrategyName::Guided).count(), 36);
    assert!(ROTATION.iter().all(|strategy| late.contains(strategy)), "{late:?}");
}

#[test]
fn guided_attempts_that_show_nothing_new_become_rare() {
    let unlimited = Agenda { runs: None, ..schedule() };
    let mut queue = queue_of(vec![test("a", "a")], unlimited);
    let guided = |queue: &mut Queue, count: usize| {
        let is_guided = || {
            let Take::Job(taken) = queue.take() else { panic!("there is no limit") };
            queue.ledger.forget(taken.ticket);
            taken.job.seed.plan(&[]).strategy == StrategyName::Guided
        };
        std::iter::repeat_with(is_guided).take(count).filter(|is_guided| *is_guided).count()
    };
    assert_eq!(guided(&mut queue, 2000), 500);
    let build = &mut queue.tests[0].builds[0];
    (0..1000).for_each(|seed| _ = build.guide.learn(Seed(seed), &[], &Orders::default()));
    assert_eq!(guided(&mut queue, 800), 100);
}

#[test]
fn a_first_attempt_leaves_time_for_others() {
    let time = Duration::from_secs(1000);
    let limited = Agenda { runs: None, time: Some(time), ..schedule() };
    let mut queue = queue_of(vec![test("a", "a"), test("b", "b")], limited);
    let deadline = queue.deadline.expect("a limit");
    let mut until = || match queue.take() {
        Take::Job(taken) => taken.job.until.expect("a limit").at,
        _ => panic!("there is time"),
    };
    assert!(until() < deadline - time / 5, "b has not had an attempt");
    assert_eq!(until(), deadline, "now it has");
}

#[test]
fn a_test_that_waits_for_another_campaign_is_not_overtaken_by_one_that_may_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = dir.path().join("in-use");
    let mut other = Registry::open(Some(&place));
    let unlimited = Agenda { runs: None, ..schedule() };
    let mut queue = Queue::new(
        vec![test("hangs", "hangs"), test("b", "b")],
        vec![],
        Level::Sync,
        unlimited,
        Registry::open(Some(&place)),
    );
    let Take::Job(first) = queue.take() else { panic!("nobody is in the way") };
    queue.ledger.end(first.ticket, &Arc::default());
    queue.learn(&first.at, &Attempt { outcome: Outcome::Unfinished, ..samples::attempt() });
    queue.ledger.forget(first.ticket);
    assert!(other.shut_gate());
    assert!(matches!(queue.take(), Take::Later), "nothing is known of b, so it may disturb the other");
    other.open_gate();
    let Take::Job(next) = queue.take() else { panic!("nobody is in the way") };
    assert_eq!(next.job.test.title(), "b");
}

#[test]
fn a_build_that_joins_is_measured_before_it_has_a_second_attempt() {
    let mut queue = queue_of(vec![test("a", "a")], Agenda { runs: None, ..schedule() });
    let next = |queue: &mut Queue| match queue.take() {
        Take::Job(taken) => taken.job.level,
        _ => panic!("there is no end to them"),
    };
    let ends = |queue: &mut Queue, build: usize| {
        let build = &mut queue.tests[0].builds[build];
        (build.ended, build.spent) = (1, Duration::from_millis(1));
    };
    assert_eq!(next(&mut queue), Level::Sync);
    ends(&mut queue, 0);
    queue.join(vec![test("a", "a")], Level::Memory);
    assert_eq!([(); 4].map(|()| next(&mut queue)), [Level::Memory, Level::Sync, Level::Sync, Level::Sync]);
    ends(&mut queue, 1);
    assert_eq!([(); 3].map(|()| next(&mut queue)), [Level::Memory; 3]);
}
