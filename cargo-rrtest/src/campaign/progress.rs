//! What is known of each test and each of its builds while a campaign runs, and which of them has had the least.

use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::patience::{Patience, Usual};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::explore::{Explorer, Schedule};
use rrtest_engine::schedule::portfolio::{self, Measured};

use super::guide::Guide;
use crate::build::instrument::Level;
use crate::discover::test::Test;

/// So many attempts at plain accesses are made soon.
const FIRST: u32 = 5;

/// An attempt at a build of which none has ended may take so many times as long as at another one.
const OTHER_BUILD: u32 = 10;

/// After so many attempts at a build, every other one is guided; one in so many as soon as that shows nothing new.
const GUIDED_AFTER: u64 = 1000;
const GUIDED_RARELY: u64 = 8;

/// What is known of a test while the campaign runs.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) id: String,
    /// Its builds; at first there is one.
    pub(super) builds: Vec<Build>,
    pub(super) attempts: u64,
    /// Those of them of which something is known.
    pub(super) judged: u64,
    /// What schedules there are, if all are to be gone through.
    pub(super) explorer: Option<Explorer>,
    pub(super) errors: u32,
    pub(super) left_out: bool,
}

impl Progress {
    /// Nothing has been learned of the schedule that was tried, if it was one of a systematic campaign.
    pub(super) fn give_back(&mut self, schedule: Option<&Schedule>) {
        if let (Some(explorer), Some(schedule)) = (&mut self.explorer, schedule) {
            explorer.give_back(schedule.clone());
        }
    }

    /// A test, as its first build has it. Systematic campaigns have a `bound`.
    pub(super) fn new(test: Test, level: Level, bound: Option<usize>) -> Self {
        Self {
            id: test.id(),
            builds: vec![Build::new(test, level)],
            attempts: 0,
            judged: 0,
            explorer: bound.map(Explorer::new),
            errors: 0,
            left_out: false,
        }
    }

    /// What attempts at the build of this index usually take; none if none has ended.
    pub(super) fn patience(&self, build: usize) -> Option<Patience> {
        let others = || self.patiences().max_by_key(|it| it.usual);
        self.builds[build].usual.patience().or_else(|| Some(others()?.times(OTHER_BUILD)))
    }

    /// The longest that an attempt has taken that ended by itself; none if none has.
    pub(super) fn longest(&self) -> Option<Duration> {
        self.patiences().map(|it| it.longest).max()
    }

    /// What attempts usually take at the build at which they take longest; none if none has ended.
    pub(super) fn usual(&self) -> Option<Duration> {
        self.patiences().map(|it| it.usual).max()
    }

    /// What attempts at each build take of which one has ended.
    fn patiences(&self) -> impl Iterator<Item = Patience> + '_ {
        self.builds.iter().filter_map(|build| build.usual.patience())
    }

    /// How much it has had, in a measure by which the test with the least is next.
    ///
    /// Nobody knows which test has a bug. If each is as likely to, and each attempt as likely to show it, the expected time until it
    /// shows is least where time is shared in the ratio of the roots of what an attempt takes: a test whose attempts take a hundred times as
    /// long has a tenth of the attempts. This is the square of the attempts divided by such a share.
    pub(super) fn share(&self) -> u128 {
        if self.may_last() {
            return u128::MAX;
        }
        let (ended, spent) = self.builds.iter().fold((0, Duration::ZERO), |(ended, spent), build| {
            (ended + u128::from(build.ended), spent + build.spent)
        });
        u128::from(self.attempts).pow(2).saturating_mul(spent.as_nanos() / ended.max(1))
    }

    /// Whether its attempts may take for ever: none that has begun has ended.
    pub(super) fn may_last(&self) -> bool {
        self.attempts > 0 && self.builds.iter().all(|build| build.ended == 0)
    }
}

/// A build of a test.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) test: Arc<Test>,
    pub(super) level: Level,
    /// What its attempts have measured.
    pub(super) measured: Measured,
    /// What those took that ended by themselves.
    pub(super) usual: Usual,
    /// Attempts that have begun, and those of them that have ended.
    pub(super) begun: u32,
    pub(super) ended: u32,
    /// How long these took.
    pub(super) spent: Duration,
    /// Those that have begun of its guided attempts, and what they have shown.
    pub(super) guided: u64,
    pub(super) guide: Guide,
}

impl Build {
    pub(super) fn new(test: Test, level: Level) -> Self {
        let test = Arc::new(test);
        Self {
            test,
            level,
            measured: Measured::default(),
            usual: Usual::default(),
            begun: 0,
            ended: 0,
            spent: Duration::ZERO,
            guided: 0,
            guide: Guide::default(),
        }
    }

    /// The strategy of an attempt whose turn this is, with these to choose from (empty: any).
    pub(super) fn strategy(&self, turn: u64, strategies: &[StrategyName]) -> StrategyName {
        // What chance finds has been found by then.
        let Some(late) = turn.checked_sub(GUIDED_AFTER).filter(|_| strategies.is_empty()) else {
            return portfolio::strategy(turn, strategies);
        };
        // What shows nothing new any more has a smaller share. The others go on with their rotation.
        let every = if self.guide.is_exhausted() { GUIDED_RARELY } else { 2 };
        match late % every {
            1 => StrategyName::Guided,
            _ => portfolio::strategy(turn.saturating_sub(self.guided), strategies),
        }
    }

    /// How much time its attempts will have taken, with those under way, as far as that counts: the build with the least is next.
    ///
    /// Each level finds bugs that the other misses, and nobody knows which a test has. At `memory` there are many more places to
    /// preempt a thread. Bugs in plain accesses are shallow, and mostly show in a few attempts: at first it has two of three. But what
    /// takes several preemptions at the right places is hard to find among so many: after that `sync` has seven eighths of the time.
    pub(super) fn share(&self) -> Duration {
        let counted = match self.level {
            Level::Memory => self.begun.saturating_add(self.begun.saturating_sub(FIRST).saturating_mul(13)),
            _ => self.begun.saturating_mul(2),
        };
        match (self.begun, self.ended) {
            (0, _) => Duration::ZERO,
            // The second has to know what the first one measures: another build goes first, if there is one.
            (_, 0) => Duration::MAX,
            (_, ended) => self.spent / ended * counted,
        }
    }
}
