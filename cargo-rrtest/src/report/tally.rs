//! What has become of each test of a run: its attempts counted, and how it stands at the end. Tests without an attempt are among them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use crate::attempt::events::{Attempt, RunEvent};
use crate::discover::test::TestId;
use crate::ending::outcome::Outcome;

/// How a test stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Each attempt passed.
    Passed,
    /// Each attempt failed.
    Failed,
    /// Some attempts failed, some passed.
    Flaky,
    /// No attempt failed, and some ended for a reason of ours.
    Error,
    /// No attempt ended in all the time that there was.
    NeverEnded,
    /// The run ended before an attempt at it did.
    NeverRan,
    /// It is marked `#[ignore]`.
    Ignored,
}

/// What was counted of a test.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// Which test.
    pub(crate) test: TestId,
    /// Attempts that ended.
    pub(crate) attempts: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
    /// Those of them that ended for a reason of ours.
    pub(crate) errors: u64,
    /// How long they took together.
    pub(crate) wall: Duration,
    never_ended: bool,
    ignored: bool,
}

impl Counted {
    fn new(test: TestId, ignored: bool) -> Self {
        Self { test, attempts: 0, failed: 0, errors: 0, wall: Duration::ZERO, never_ended: false, ignored }
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        match self {
            Self { ignored: true, .. } => Standing::Ignored,
            Self { failed: 1.., .. } if self.failed == self.attempts => Standing::Failed,
            Self { failed: 1.., .. } => Standing::Flaky,
            Self { errors: 1.., .. } => Standing::Error,
            Self { never_ended: true, .. } => Standing::NeverEnded,
            Self { attempts: 0, .. } => Standing::NeverRan,
            _ => Standing::Passed,
        }
    }

    /// The share of its attempts that failed; none if there is no attempt.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.attempts > 0).then(|| self.failed as f64 / self.attempts as f64)
    }
}

/// All tests of a run, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    tests: Vec<Counted>,
    index: HashMap<TestId, usize>,
}

impl Tally {
    /// Takes notice of an event.
    pub(crate) fn count(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started(started) => {
                for (tests, ignored) in [(&started.which, false), (&started.ignored, true)] {
                    for test in tests {
                        self.place(test, ignored);
                    }
                }
            }
            RunEvent::Attempt(attempt) => self.attempt(attempt),
            RunEvent::Summary(summary) => {
                for never in &summary.never_ended {
                    let place = self.place(&never.test.which(), false);
                    self.tests[place].never_ended = never.attempts > 0;
                }
            }
            _ => {}
        }
    }

    fn attempt(&mut self, attempt: &Attempt) {
        let place = self.place(&attempt.test.which(), false);
        if attempt.outcome != Outcome::Unfinished {
            let counted = &mut self.tests[place];
            counted.attempts += 1;
            counted.failed += u64::from(attempt.outcome.is_failure());
            counted.errors += u64::from(attempt.outcome.is_ours());
            counted.wall += attempt.wall;
        }
    }

    /// Where a test is among all, which it joins if it is new.
    fn place(&mut self, test: &TestId, ignored: bool) -> usize {
        if let Some(place) = self.index.get(test) {
            return *place;
        }
        self.tests.push(Counted::new(test.clone(), ignored));
        self.index.insert(test.clone(), self.tests.len() - 1);
        self.tests.len() - 1
    }

    /// What was counted of a test; none if it has not been heard of.
    pub(crate) fn of(&self, test: &TestId) -> Option<&Counted> {
        self.tests.get(*self.index.get(test)?)
    }

    /// All tests.
    pub(crate) fn tests(&self) -> &[Counted] {
        &self.tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::events::samples::attempt;
    use crate::attempt::events::{NeverEnded, Summary};
    use crate::discover::test;

    #[test]
    fn tests_stand_as_their_attempts_ended() {
        let of = |outcomes: &[Outcome]| {
            let mut tally = Tally::default();
            for outcome in outcomes {
                tally.count(&RunEvent::Attempt(Box::new(Attempt { outcome: *outcome, ..attempt() })));
            }
            (tally.tests[0].standing(), tally.tests[0].rate())
        };
        assert_eq!(of(&[Outcome::Passed]), (Standing::Passed, Some(0.0)));
        assert_eq!(of(&[Outcome::Hung, Outcome::Failed]), (Standing::Failed, Some(1.0)));
        assert_eq!(of(&[Outcome::Passed, Outcome::Failed]), (Standing::Flaky, Some(0.5)));
        assert_eq!(of(&[Outcome::Passed, Outcome::Error]), (Standing::Error, Some(0.0)));
        assert_eq!(of(&[Outcome::Unfinished]), (Standing::NeverRan, None));
    }

    #[test]
    fn tests_without_an_attempt_are_counted() {
        let named = |name: &str| TestId { name: Some(name.into()), ..test::sample().which() };
        let started =
            crate::attempt::events::samples::started(vec![named("t"), named("u")], vec![named("x")]);
        let never = NeverEnded { test: attempt().test, attempts: 1 };
        let mut tally = Tally::default();
        tally.count(&RunEvent::Started(started));
        tally.count(&RunEvent::Summary(Summary { never_ended: vec![never], ..Summary::of_none(2, false) }));
        let standings: Vec<_> =
            tally.tests().iter().map(|counted| (counted.test.title(), counted.standing())).collect();
        assert_eq!(
            standings,
            [("t", Standing::NeverEnded), ("u", Standing::NeverRan), ("x", Standing::Ignored)]
        );
    }
}
