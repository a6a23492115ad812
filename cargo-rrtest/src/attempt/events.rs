//! A run is a stream of events. Whoever makes attempts tells of them, and each [`Reporter`] reads them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rrtest_engine::ending::{Ending, Stats};
use rrtest_engine::output::Output;
use rrtest_engine::patience::Effort;
use rrtest_engine::record::{Orders, Processor, Time};
use rrtest_engine::schedule::portfolio::Measured;
use rrtest_engine::schedule::script::Noted;
use rrtest_engine::schedule::surprise::Struck;
use rrtest_engine::schedule::{Branch, Decided, StrategyName};
use rrtest_engine::strike::Strike;
use serde::Serialize;

use super::order::Ran;
use super::pins::{PinCounts, PinTried};
use super::seed::Seed;
use super::start::Start;
use crate::base::exit::{CliError, Status};
use crate::build::instrument::Level;
use crate::discover::partition::Part;
use crate::discover::test::{Test, TestId};
use crate::ending::explanation::{Explanation, Place, Rate as OfRuns};
use crate::ending::outcome::Outcome;

/// What happens in a run.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// The tests could not be built.
    NotBuilt(NotBuilt),
    /// Tests have been found; attempts begin.
    Started(Started),
    /// A worker is at this attempt now. Of short ones few are told.
    Begun(Begun),
    /// This worker is at none.
    Left(usize),
    /// An attempt takes long.
    Slow(Slow),
    /// From now on some attempts are at a build with this preemption level.
    Joined(Level),
    /// An attempt failed because another one was under way: alone it passes. That is the next event.
    Interference(Interference),
    /// An attempt ended.
    Attempt(Box<Attempt>),
    /// It has been found out what a failure needs.
    Explained(Box<Explained>),
    /// A failure has been tried again.
    Verified(Box<Verified>),
    /// A pin has been tried. If it fails, the attempt follows.
    Pin(Box<PinTried>),
    /// The user should know.
    Warning(String),
    /// All is done.
    Summary(Summary),
}

/// Why there are no tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotBuilt {
    /// Whether there was no time for it, rather than a mistake in the code.
    pub(crate) too_late: bool,
    /// What is said of it.
    pub(crate) message: String,
    /// The exit code that follows.
    pub(crate) exit_code: u8,
}

/// An attempt that begins.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    /// Who makes it: one attempt at a time.
    pub(crate) worker: usize,
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Which of its attempts.
    pub(crate) number: u64,
}

/// An attempt that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Which of its attempts.
    pub(crate) number: u64,
    /// How long it has been running.
    pub(crate) wall: Duration,
}

/// The beginning of a run.
#[derive(Debug)]
pub(crate) struct Started {
    /// Tests to run; binaries, if each has its tests together.
    pub(crate) tests: usize,
    /// Which these are.
    pub(crate) which: Vec<TestId>,
    /// Those marked `#[ignore]` that are left out for that.
    pub(crate) ignored: Vec<TestId>,
    /// Whether they have.
    pub(crate) together: bool,
    /// Binaries they are in.
    pub(crate) binaries: usize,
    /// Attempts side by side.
    pub(crate) slots: usize,
    /// The campaign's seed.
    pub(crate) seed: Seed,
    /// Attempts in all, if limited.
    pub(crate) attempts: Option<u64>,
    /// Time in all, if limited.
    pub(crate) time: Option<Duration>,
    /// Whether a failure is what we are waiting for.
    pub(crate) until_fail: bool,
    /// Which of the attempts are this machine's.
    pub(crate) shard: Option<Part>,
}

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Which of its attempts, from 1; 0 if it was one of a pin.
    pub(crate) number: u64,
    /// The pin's file, as people would name it from here, if its schedule was that of one.
    pub(crate) pinned: Option<Arc<str>>,
    /// Its seed.
    pub(crate) seed: Seed,
    /// Its strategy.
    pub(crate) strategy: StrategyName,
    /// Where a guided schedule has left that of its seed, and what it has shown.
    pub(crate) branches: Vec<Branch>,
    pub(crate) orders: Orders,
    /// Where it could be preempted.
    pub(crate) level: Level,
    /// How time passed for it.
    pub(crate) time: Time,
    /// The processor that the program saw.
    pub(crate) processor: Processor,
    /// The surprises that it had.
    pub(crate) struck: Struck,
    /// What those in time have done.
    pub(crate) strikes: Vec<Strike>,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// How the program ended; none if it could not be recorded.
    pub(crate) ending: Option<Ending>,
    /// What the program wrote.
    pub(crate) output: Output,
    /// The names of those of a binary's tests that failed together, as far as the binary has said so.
    pub(crate) failed_tests: Vec<String>,
    /// How a binary's tests were run, if not in the usual way, and they failed.
    pub(crate) ran: Option<Ran>,
    /// Whether it failed, but passes where all tests of its binary run in one process.
    pub(crate) passes_together: bool,
    /// What was counted.
    pub(crate) stats: Stats,
    /// What later attempts can make use of.
    pub(crate) measured: Measured,
    /// The decisions that a systematic schedule took.
    pub(crate) decided: Vec<Decided>,
    /// Its schedule, to be run again.
    pub(crate) noted: Noted,
    /// How long it ran.
    pub(crate) wall: Duration,
    /// What it took of that for itself.
    pub(crate) effort: Effort,
    /// How it was started.
    pub(crate) start: Start,
    /// Where its trace is kept.
    pub(crate) trace: Option<Kept>,
    /// Which earlier attempt at the test, with a trace, failed in the same way.
    pub(crate) repeats: Option<u64>,
    /// What went wrong, for the outcomes that are ours.
    pub(crate) message: Option<String>,
}

impl Attempt {
    /// The part of a file name that tells its schedule from others: of its seed, or of the last one to which a guided
    /// schedule has gone over. Children of one parent, which run side by side, share the first.
    pub(crate) fn schedule_name(&self) -> String {
        self.branches.last().map_or(self.seed, |branch| Seed(branch.seed.into())).short()
    }
}

/// A failure that is not the test's.
#[derive(Debug)]
pub(crate) struct Interference {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Which of its attempts.
    pub(crate) number: u64,
    /// Its seed.
    pub(crate) seed: Seed,
    /// What became of it beside the other one.
    pub(crate) outcome: Outcome,
    /// How long it ran.
    pub(crate) wall: Duration,
    /// What both used.
    pub(crate) thing: String,
    /// The other test, and which of its attempts; none if it was that of another `cargo rrtest`.
    pub(crate) with: Option<(Arc<Test>, u64)>,
}

/// What a failure needs, as far as experiments have shown.
#[derive(Debug)]
pub(crate) struct Explained {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Which of its attempts failed.
    pub(crate) number: u64,
    /// The file of the pin that was tried, if it was one: these attempts have no numbers.
    pub(crate) pinned: Option<Arc<str>>,
    /// What has been found out.
    pub(crate) explanation: Explanation,
    /// The failure's trace.
    pub(crate) trace: Kept,
    /// Whether that is one of the smallest schedule now.
    pub(crate) replaced: bool,
}

/// Whether a failure still comes about.
#[derive(Debug)]
pub(crate) struct Verified {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// How often it failed before.
    pub(crate) before: OfRuns,
    /// How often it fails in the old schedule and those like it.
    pub(crate) near: OfRuns,
    /// How often in others.
    pub(crate) elsewhere: OfRuns,
    /// What the test does not come to any more.
    pub(crate) gone: Vec<Place>,
}

impl Verified {
    /// The rate of failures, of all attempts elsewhere, that so many passing ones exclude with a certainty of 95%; none if
    /// any failed.
    pub(crate) fn excluded(&self) -> Option<f64> {
        let OfRuns { failed, runs } = self.elsewhere;
        (failed == 0 && runs > 0).then(|| 1.0 - 0.05_f64.powf(1.0 / runs as f64))
    }
}

/// A kept trace.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Whether it has replayed.
    pub(crate) verified: bool,
    /// Whether its name is enough to find it.
    pub(crate) by_name: bool,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// Attempts that ended.
    pub(crate) attempts: u64,
    /// Tests that were run; binaries, if each had its tests together.
    pub(crate) tests: usize,
    /// Whether they had.
    pub(crate) together: bool,
    /// Attempts that passed.
    pub(crate) passed: u64,
    /// Attempts that failed, crashed, deadlocked or hung.
    pub(crate) failures: u64,
    /// Attempts that ended for a reason of ours.
    pub(crate) errors: u64,
    /// The tests with failures, by [`Test::id`], in order of their first.
    pub(crate) failed: Vec<String>,
    /// How the pins stand that were tried.
    pub(crate) pins: PinCounts,
    /// How often each test was run, and failed, by [`Test::id`].
    pub(crate) rates: BTreeMap<String, Rate>,
    /// What was still running when Ctrl-C ended it.
    pub(crate) running: Vec<Slow>,
    /// The exit code that follows.
    pub(crate) exit_code: u8,
    /// The tests of which no attempt has ended, though the time is over.
    pub(crate) never_ended: Vec<NeverEnded>,
    /// From the first attempt's start to the last one's end.
    pub(crate) wall: Duration,
    /// Whether Ctrl-C ended it.
    pub(crate) interrupted: bool,
    /// How far the schedules of each test have been gone through; empty if that was not asked for.
    pub(crate) explored: Vec<Explored>,
    /// What guided attempts at each test have covered, of those that had some.
    pub(crate) covered: Vec<Covered>,
}

/// How often a test fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Attempts that have ended.
    pub(crate) attempts: u64,
    /// Those of them that failed.
    pub(crate) failures: u64,
    /// Failures that are not like an earlier one.
    pub(crate) distinct: u64,
}

/// A test of which no attempt has ended.
#[derive(Clone, Debug)]
pub(crate) struct NeverEnded {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// Attempts that have begun.
    pub(crate) attempts: u64,
}

/// How far the schedules of a test have been gone through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explored {
    /// The test, by [`Test::id`].
    pub(crate) test: String,
    /// How many preemptions there could be.
    pub(crate) bound: usize,
    /// How many schedules were tried.
    pub(crate) schedules: u64,
    /// How many did not come about, because the test did not do the same as before.
    pub(crate) strayed: u64,
    /// Whether these are all.
    pub(crate) complete: bool,
    /// How often in a row sched_yield(2) has returned at once at most, if a thread has called it more often.
    pub(crate) at_once: Option<u32>,
}

/// What the guided attempts at a test have covered.
///
/// The accesses of a pair are to one object, by two threads, at certain places of the code; one of them writes. Both
/// threads were about to make theirs, so either could have been the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Covered {
    /// The test, by [`Test::id`].
    pub(crate) test: String,
    /// Pairs that were met.
    pub(crate) pairs: u64,
    /// Those of them of which each access has been the first.
    pub(crate) both_orders: u64,
    /// The guided attempts.
    pub(crate) attempts: u64,
    /// Those of them after the last that has shown an order for the first time.
    pub(crate) in_vain: u64,
}

impl Summary {
    /// Of no attempt yet, at this many tests, or binaries with their tests together.
    pub(crate) fn of_none(tests: usize, together: bool) -> Self {
        Self {
            attempts: 0,
            tests,
            together,
            passed: 0,
            failures: 0,
            errors: 0,
            failed: Vec::new(),
            pins: PinCounts::default(),
            rates: BTreeMap::new(),
            running: Vec::new(),
            exit_code: 0,
            never_ended: Vec::new(),
            wall: Duration::ZERO,
            interrupted: false,
            explored: Vec::new(),
            covered: Vec::new(),
        }
    }

    /// The tests that had no attempt, though the time is over.
    pub(crate) fn never_ran(&self) -> impl Iterator<Item = &NeverEnded> {
        self.never_ended.iter().filter(|never| never.attempts == 0)
    }

    /// The tests without an attempt that ended for which the run fails: those that never ran are among them if that is the
    /// user's policy, of which the exit code tells.
    pub(crate) fn not_green(&self) -> impl Iterator<Item = &NeverEnded> {
        let fails = self.exit_code == Status::NeverRan as u8;
        self.never_ended.iter().filter(move |never| never.attempts > 0 || fails)
    }

    /// Count an attempt, if it has ended.
    pub(crate) fn count(&mut self, attempt: &Attempt) {
        self.attempts += u64::from(attempt.outcome != Outcome::Unfinished);
        self.passed += u64::from(attempt.outcome == Outcome::Passed);
        self.failures += u64::from(attempt.outcome.is_failure());
        self.errors += u64::from(attempt.outcome.is_ours());
        let id = attempt.test.id();
        if attempt.outcome != Outcome::Unfinished {
            let failed = attempt.outcome.is_failure();
            let rate = self.rates.entry(id.clone()).or_default();
            rate.attempts += 1;
            rate.failures += u64::from(failed);
            rate.distinct += u64::from(failed && attempt.repeats.is_none());
        }
        if attempt.outcome.is_failure() && !self.failed.contains(&id) {
            self.failed.push(id);
        }
    }
}

/// A report of a run.
pub(crate) trait Reporter {
    /// Take notice of an event.
    ///
    /// # Errors
    /// If the report cannot be written: that ends the run.
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError>;
}

/// Let all reports see an event.
pub(crate) fn tell(reporters: &mut [Box<dyn Reporter + '_>], event: &RunEvent) -> Result<(), CliError> {
    reporters.iter_mut().try_for_each(|reporter| reporter.report(event))
}

/// Events for the tests of reports.
#[cfg(test)]
pub(crate) mod samples {
    use rrtest_engine::trace::event::Stream;

    use super::*;
    use crate::discover::test;
    use crate::ending::explanation;

    /// What a program wrote.
    pub(crate) fn written(parts: &[(Stream, &str)]) -> Output {
        let mut output = Output::default();
        parts.iter().for_each(|(stream, text)| output.push(*stream, text.as_bytes()));
        output
    }

    /// What the failure of [`attempt`] needs, as one of a test with this name.
    pub(crate) fn explained(name: &str) -> Explained {
        let Attempt { test, number, pinned, trace, .. } = attempt();
        let test = Arc::new(Test { name: Some(name.to_owned()), ..(*test).clone() });
        let trace = trace.expect("it is kept");
        Explained { test, number, pinned, explanation: explanation::sample(), trace, replaced: true }
    }

    /// The beginning of a run of these tests.
    pub(crate) fn started(which: Vec<TestId>, ignored: Vec<TestId>) -> Started {
        Started {
            tests: which.len(),
            which,
            ignored,
            together: false,
            binaries: 2,
            slots: 8,
            seed: Seed(0xabc),
            attempts: None,
            time: None,
            until_fail: false,
            shard: None,
        }
    }

    /// A failed attempt, kept and verified.
    pub(crate) fn attempt() -> Attempt {
        Attempt {
            test: Arc::new(test::sample()),
            number: 3,
            pinned: None,
            seed: Seed(0xabc),
            strategy: StrategyName::Walk,
            branches: Vec::new(),
            orders: Orders::default(),
            level: Level::Sync,
            time: Time::Real,
            processor: Processor::V2,
            struck: Struck::default(),
            strikes: Vec::new(),
            outcome: Outcome::Failed,
            ending: Some(Ending::Exited(101)),
            output: written(&[(Stream::Stdout, "one\n"), (Stream::Stderr, "two\n")]),
            failed_tests: vec![],
            ran: None,
            passes_together: false,
            stats: Stats { ticks: 522, preemptions: 1, syscalls: 9, tasks: 3 },
            measured: Measured::default(),
            decided: Vec::new(),
            noted: Noted::default(),
            wall: Duration::from_millis(4),
            effort: Effort { computed: Duration::from_millis(4), idled: Duration::ZERO },
            start: Start::Forked,
            trace: Some(Kept { path: "/traces/p-it-t-abc.rrtrace".into(), verified: true, by_name: true }),
            repeats: None,
            message: None,
        }
    }
}
