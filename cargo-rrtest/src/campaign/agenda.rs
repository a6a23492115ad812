//! What attempts to make, and at what.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_engine::schedule::StrategyName;

use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::discover::partition::Part;
use crate::discover::test::{Test, TestId};
use crate::pins::find::Pinned;

/// What attempts to make.
#[derive(Clone, Debug)]
pub(crate) struct Agenda {
    /// Attempts of each test, if limited.
    pub(crate) runs: Option<u64>,
    /// Time in all, if limited.
    pub(crate) time: Option<Duration>,
    /// End at the first failure.
    pub(crate) until_fail: bool,
    /// Do not, but count failures.
    pub(crate) keep_going: bool,
    /// The strategies that the user has chosen; empty means the portfolio.
    pub(crate) strategies: Vec<StrategyName>,
    /// Go through all schedules with at most so many preemptions instead.
    pub(crate) bound: Option<usize>,
    /// Which of the attempts are this machine's; none: all.
    pub(crate) shard: Option<Part>,
    /// What failures need is found out in so much time for all of them; none: it is not.
    pub(crate) explain: Option<Duration>,
    /// A failure's first trace is kept, too, once there is one of its smallest schedule.
    pub(crate) keep_original: bool,
    /// The seed of the first attempt of each test, from which those of all others are derived; by default any.
    pub(crate) seed: Option<Seed>,
}

impl Agenda {
    /// How many attempts of each test are made here, if limited.
    pub(crate) fn runs_here(&self) -> Option<u64> {
        self.runs.map(|runs| self.shard.map_or(runs, |shard| shard.share(runs)))
    }

    /// The number of a test's `nth` attempt here (from 1).
    pub(crate) fn number(&self, nth: u64) -> u64 {
        self.shard.map_or(nth, |shard| shard.attempt(nth))
    }
}

/// The tests of another build. An error is for the user to know, and no more.
pub(crate) type OtherTests = Result<Vec<Test>, String>;

/// Another build of the tests.
pub(crate) enum Other<'a> {
    /// It is there.
    Ready(OtherTests),
    /// This makes it, while attempts at the first build are being made. It is given up when the flag becomes true.
    Coming(&'a (dyn Fn(&AtomicBool) -> OtherTests + Sync)),
}

/// What attempts are made at.
pub(crate) struct Subject<'a> {
    /// The tests.
    pub(crate) tests: Vec<Test>,
    /// Those marked `#[ignore]` that are left out for that.
    pub(crate) ignored: Vec<TestId>,
    /// The pins of them, which are tried first.
    pub(crate) pins: Vec<Pinned>,
    /// How they were built.
    pub(crate) level: Level,
    /// Another build of them with its level, if there is to be one.
    pub(crate) other: Option<(Level, Other<'a>)>,
}
