//! One attempt: which one, under what settings, and the recording that is made of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rrtest_engine::Error;
use rrtest_engine::claims::Claims;
use rrtest_engine::ending::Stats;
use rrtest_engine::mark::Mark;
use rrtest_engine::output::Output;
use rrtest_engine::patience::{Effort, Limit, Patience};
use rrtest_engine::program::Program;
use rrtest_engine::record::{
    AskedFault, CutOff, Listener, Options, Orders, Outsiders, Processor, Recording, Stdin, Ticks, Time,
    wait_for_starts,
};
use rrtest_engine::schedule::portfolio::Measured;
use rrtest_engine::schedule::script::{Noted, Script};
use rrtest_engine::schedule::surprise::{Struck, Surprises};
use rrtest_engine::schedule::{Branch, Plan, StrategyName};

use super::engine::Engine;
use super::events::Attempt;
use super::fork_servers::Base;
use super::order::Order;
use super::seed::Seed;
use super::start::Start;
use crate::build::instrument::Level;
use crate::discover::test::Test;
use crate::ending::fingerprint::Fingerprint;
use crate::ending::outcome::Outcome;
use crate::store::attached::Attached;
use crate::store::traces::{Keep, Store};

/// How many cores recorded programs are told there are. The same everywhere, so that a seed means the same everywhere;
/// enough for pools that size themselves by it to have several threads.
pub(crate) const PRETEND_CORES: usize = 4;

/// What all attempts of a run have in common.
pub(crate) struct Setting<'a> {
    /// Who records.
    pub(crate) engine: &'a dyn Engine,
    /// Where traces go.
    pub(crate) store: &'a Store,
    /// Which traces to keep.
    pub(crate) keep: Keep,
    /// When an attempt counts as hung.
    pub(crate) limit: Limit,
    /// Where programs' standard input comes from.
    pub(crate) stdin: Stdin,
    /// Whether processes outside come to what programs have made under a name.
    pub(crate) outsiders: Outsiders,
    /// Who gets programs' output as it is written, besides the report.
    pub(crate) listener: Option<Listener<'a>>,
    /// The strategies that the user has chosen; empty means any.
    pub(crate) strategies: &'a [StrategyName],
    /// When it becomes true, recordings end where they are.
    pub(crate) end: Option<&'a AtomicBool>,
    /// When it becomes true, no trace is verified any more; none: when [`Self::end`] does.
    pub(crate) verification_ends: Option<&'a AtomicBool>,
    /// How time passes for programs.
    pub(crate) time: Time,
    /// The processor that programs see.
    pub(crate) processor: Processor,
    /// Whether programs were built by somebody else: what is to tick at a level is taken out of their code.
    pub(crate) takes_apart: bool,
    /// What may surprise them; none: the usual under chaos, else nothing.
    pub(crate) surprises: Option<Surprises>,
    /// Calls that are to fail in them.
    pub(crate) faults: &'a [AskedFault],
    /// The compiler that built them.
    pub(crate) rustc: &'a str,
    /// The failures that are known.
    pub(crate) known: Mutex<HashMap<Fingerprint, Known>>,
    /// The traces that this run has kept, which later ones have contents in common with.
    pub(crate) kept: Mutex<Vec<PathBuf>>,
    /// What is attached to traces once they are kept.
    pub(crate) attached: Attached,
    /// Where all `cargo rrtest` on the machine see what the others' attempts use; none: this is the only one.
    pub(crate) in_use: Option<PathBuf>,
    /// Held while a failure is being judged, which ends with its replay.
    pub(crate) judging: Mutex<()>,
}

/// A failure that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// Which attempt of its test had it first, or had it when its trace was kept.
    pub(super) attempt: u64,
    /// Whether a trace of it is kept.
    pub(super) kept: bool,
}

/// Which attempt to make.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// How it was built.
    pub(crate) level: Level,
    /// Which attempt of it, from 1; 0 if it is one of a pin.
    pub(crate) number: u64,
    /// Its seed.
    pub(crate) seed: Seed,
    /// Which tests it runs, of several together.
    pub(crate) order: Order,
    /// A schedule that is written out, in place of the seed's.
    pub(crate) script: Option<Script>,
    /// Where a guided schedule leaves that of its seed.
    pub(crate) branches: Vec<Branch>,
    /// The file that has that schedule, as people would name it from here, if one has.
    pub(crate) pinned: Option<Arc<str>>,
    /// Whether to count what others can make use of.
    pub(crate) measure: bool,
    /// What its attempts usually take; none if none has ended.
    pub(crate) patience: Option<Patience>,
    /// It is cut off when it runs past this.
    pub(crate) until: Option<CutOff>,
    /// Whether to see what it only looks at, too, which takes longer.
    pub(crate) watched: bool,
}

/// An attempt that has been made, but not judged.
pub(crate) struct Made {
    pub(crate) attempt: Attempt,
    pub(super) order: Order,
    /// None if the recorder has failed.
    pub(super) recording: Option<Recording>,
    claims: Arc<Claims>,
    /// Whether no attempt at the test had ended before.
    pub(super) first: bool,
}

impl Made {
    /// What it has come to.
    pub(crate) fn outcome(&self) -> Outcome {
        self.attempt.outcome
    }

    /// What was seen at the marks of its schedule.
    pub(crate) fn marks(&self) -> &[Mark] {
        self.recording.as_ref().map_or(&[], |recording| &recording.marks)
    }

    /// What it has used that others could use, too.
    pub(crate) fn claims(&self) -> Arc<Claims> {
        Arc::clone(&self.claims)
    }
}

impl Setting<'_> {
    /// Make an attempt on `core`, from `base` if there is one: if there will be more of the same test here. When `stop` becomes true
    /// it is given up, which is an error.
    ///
    /// # Errors
    /// [`Error::Stopped`], and [`Error::Forbidden`], which no further attempt would escape. Other errors are outcomes.
    pub(crate) fn record(
        &self,
        job: Job,
        core: usize,
        base: Option<&mut Base>,
        stop: &AtomicBool,
    ) -> Result<Made, Error> {
        let seeds = job.seed.plan(job.test.strategies(self.strategies));
        let surprises = self.surprises_of(&job.test, seeds.strategy);
        let by_default = job.test.rules.surprises.or(self.surprises).is_none();
        let plan = match &job.script {
            Some(script) => Plan { strategy: StrategyName::Scripted, script: script.clone(), ..seeds },
            None => Plan { branches: job.branches.clone(), ..seeds },
        };
        let first = job.patience.is_none();
        let mut attempt = Attempt {
            test: Arc::clone(&job.test),
            number: job.number,
            pinned: job.pinned.clone(),
            seed: job.seed,
            strategy: plan.strategy,
            branches: job.branches.clone(),
            orders: Orders::default(),
            level: job.level,
            time: self.time,
            processor: self.processor,
            struck: Struck::default(),
            strikes: Vec::new(),
            outcome: Outcome::Error,
            ending: None,
            output: Output::default(),
            failed_tests: Vec::new(),
            ran: None,
            passes_together: false,
            stats: Stats::default(),
            measured: Measured::default(),
            decided: Vec::new(),
            noted: Noted::default(),
            wall: Duration::ZERO,
            effort: Effort::default(),
            start: Start::Full,
            trace: None,
            repeats: None,
            message: None,
        };
        let options =
            Options { surprises, listener: self.listener, ..self.options_of(&job, plan, core, stop) };
        let test = Arc::clone(&attempt.test);
        let program = job.order.program(job.seed, &test);
        let mut base = base;
        let mut recorded = self.record_from(base.as_deref_mut(), &program, &options);
        if let Ok((recording, _)) = &recorded
            && by_default
            && is_told_by_another_clock(recording)
        {
            let options = Options { surprises: surprises.without(Surprises::OF_CLOCKS), ..options.clone() };
            recorded = self.record_from(base, &program, &options);
        }
        let mut claims = Claims::default();
        let recording = match recorded {
            Ok((mut recording, start)) => {
                attempt.start = start;
                attempt.outcome = Outcome::of(&recording.ending);
                attempt.measured = std::mem::take(&mut recording.measured);
                attempt.decided = std::mem::take(&mut recording.decided);
                attempt.noted = std::mem::take(&mut recording.noted);
                attempt.orders = std::mem::take(&mut recording.orders);
                attempt.stats = recording.stats;
                attempt.struck = recording.struck;
                attempt.strikes = std::mem::take(&mut recording.strikes);
                (attempt.wall, attempt.effort) = (recording.wall, recording.effort);
                claims = std::mem::take(&mut recording.claims);
                // What it had is free for others only then.
                if !claims.is_empty() {
                    wait_for_starts();
                }
                Some(recording)
            }
            Err(error @ (Error::Stopped | Error::Forbidden { .. })) => return Err(error),
            // Ctrl-C goes to all of a terminal's processes, to one that is just being started as well.
            Err(_) if stop.load(Ordering::SeqCst) => return Err(Error::Stopped),
            Err(error) => {
                attempt.message = Some(error.to_string());
                None
            }
        };
        Ok(Made { attempt, order: job.order, recording, claims: Arc::new(claims), first })
    }

    /// Records a program, from its base if it has one.
    fn record_from(
        &self,
        base: Option<&mut Base>,
        program: &Program,
        options: &Options<'_>,
    ) -> Result<(Recording, Start), Error> {
        match base {
            Some(base) => base.record(self.engine, program, options),
            None => self.engine.record(program, options).map(|recording| (recording, Start::Full)),
        }
    }

    /// What may surprise a test under a strategy.
    pub(crate) fn surprises_of(&self, test: &Test, strategy: StrategyName) -> Surprises {
        test.rules.surprises.or(self.surprises).unwrap_or(by_default(strategy))
    }

    /// How an attempt is recorded, by another plan than its seed's if need be.
    pub(crate) fn options_of<'o>(
        &'o self,
        job: &Job,
        plan: Plan,
        core: usize,
        stop: &'o AtomicBool,
    ) -> Options<'o> {
        let rules = &job.test.rules;
        Options {
            measure: job.measure,
            // A time limit that somebody has set is the only one.
            limit: rules.timeout.map_or(self.limit, Limit::Real).after(job.patience),
            until: job.until,
            watchdog_main: job.test.harness,
            calls_stop: job.watched,
            ticks: if self.takes_apart { job.level.ticks() } else { Ticks::CompiledIn },
            ..self.options(plan, core, stop)
        }
    }

    /// How programs are recorded under a plan, if there is nothing special about them.
    pub(crate) fn options<'o>(&'o self, plan: Plan, core: usize, stop: &'o AtomicBool) -> Options<'o> {
        Options {
            measure: false,
            time: self.time,
            processor: self.processor,
            ticks: Ticks::CompiledIn,
            surprises: self.surprises.unwrap_or(by_default(plan.strategy)),
            faults: self.faults,
            plan,
            core,
            pretend_cores: PRETEND_CORES,
            limit: self.limit,
            until: None,
            stdin: self.stdin,
            listener: None,
            watchdog_main: false,
            outsiders: self.outsiders,
            wakes_stop: false,
            calls_stop: false,
            end: self.end,
            stop,
        }
    }
}

/// Whether a program may have failed because its clocks stood elsewhere than those of an outsider that it has been in
/// touch with: that is no fault of its own.
fn is_told_by_another_clock(recording: &Recording) -> bool {
    recording.met_outsiders
        && recording.struck.any_of(Surprises::OF_CLOCKS)
        && Outcome::of(&recording.ending).is_failure()
}

/// What surprises programs under a strategy, unless the user has said it.
fn by_default(strategy: StrategyName) -> Surprises {
    match strategy {
        StrategyName::Fair | StrategyName::Systematic => Surprises::NONE,
        _ => Surprises::USUAL,
    }
}
