//! Runs schedules of a failed attempt.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::ending::{Ending, Overdue};
use rrtest_engine::explain::{Lab, Tried};
use rrtest_engine::program::Program;
use rrtest_engine::record::{CutOff, Options, Recording};
use rrtest_engine::schedule::script::Script;
use rrtest_engine::schedule::{Plan, StrategyName};

use super::case::Case;
use crate::attempt::fork_servers::Base;
use crate::attempt::record::Setting;
use crate::discover::libtest::failed_tests;
use crate::ending::fingerprint::Fingerprint;
use crate::ending::outcome::Outcome;
use crate::ending::output;

/// Runs the attempt of a case again, in other schedules.
pub(super) struct Bench<'a> {
    pub(super) setting: &'a Setting<'a>,
    pub(super) case: &'a Case,
    core: usize,
    base: Base,
    /// The program, but for what makes its failures slow.
    program: Program,
    stop: &'a AtomicBool,
    /// Nothing runs past this.
    pub(super) until: Instant,
    /// Runs so far.
    pub(super) runs: u64,
    /// What has kept us from working, if anything has.
    pub(super) error: Option<Error>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        setting: &'a Setting<'a>,
        case: &'a Case,
        core: usize,
        stop: &'a AtomicBool,
        until: Instant,
    ) -> Self {
        let mut program = case.job.order.program(case.job.seed, &case.job.test).into_owned();
        // A backtrace of a debug build takes longer than most attempts, and comes after the failure.
        let backtrace = |name: &OsString| name == "RUST_BACKTRACE" || name == "RUST_LIB_BACKTRACE";
        for (_, value) in program.env.iter_mut().filter(|(name, _)| backtrace(name)) {
            *value = "0".into();
        }
        Self { setting, case, core, base: Base::Unknown, program, stop, until, runs: 0, error: None }
    }

    /// Whether there is no time for anything more.
    pub(super) fn is_over(&self) -> bool {
        self.error.is_some() || self.stop.load(Ordering::SeqCst) || Instant::now() >= self.until
    }

    /// The plan that runs a script; everything else that is random is as in the failed attempt.
    fn scripted(&self, script: &Script) -> Plan {
        Plan { strategy: StrategyName::Scripted, script: script.clone(), ..self.case.plan.clone() }
    }

    /// Records a script.
    pub(super) fn record(&mut self, script: &Script) -> Option<Recording> {
        self.record_plan(self.scripted(script))
    }

    /// Returns how long a script takes, from when the program is ready for it; `None` if there is not so much time.
    pub(super) fn wall(&mut self, script: &Script, most: Duration) -> Option<Duration> {
        let until = self.until;
        self.until = until.min(Instant::now() + most);
        let recording = self.record(script);
        self.until = until;
        recording.map(|recording| recording.wall)
    }

    /// Records a script as it is to be kept: by the program as the failed attempt had it.
    pub(super) fn record_to_keep(&mut self, script: &Script) -> Option<Recording> {
        let (setting, case) = (self.setting, self.case);
        let program = case.job.order.program(case.job.seed, &case.job.test).into_owned();
        let options = Options {
            surprises: case.surprises,
            until: None,
            measure: false,
            calls_stop: false,
            ..setting.options_of(&case.job, self.scripted(script), self.core, self.stop)
        };
        self.runs += 1;
        setting.engine.record(&program, &options).ok()
    }

    /// Records another schedule; `None` if there is no time for it, or if it cannot be recorded.
    pub(super) fn record_plan(&mut self, plan: Plan) -> Option<Recording> {
        if self.is_over() {
            return None;
        }
        let Self { setting, case, core, stop, until, .. } = *self;
        let strategy = plan.strategy;
        let surprises = match strategy {
            StrategyName::Scripted => case.surprises,
            other => setting.surprises_of(&case.job.test, other),
        };
        let options = Options {
            surprises,
            until: Some(CutOff::untold(until)),
            measure: false,
            calls_stop: false,
            ..setting.options_of(&case.job, plan, core, stop)
        };
        self.runs += 1;
        let program = &self.program;
        let recorded = match case.job.order.is_lasting() {
            true => self.base.record(setting.engine, program, &options).map(|(recording, _)| recording),
            false => setting.engine.record(program, &options),
        };
        let recording = match recorded {
            Ok(recording) => recording,
            Err(Error::Stopped) => return None,
            Err(error) => {
                self.error = Some(error);
                return None;
            }
        };
        let cut = matches!(recording.ending, Ending::Hung { why: Overdue::CutOff(_), .. });
        (!cut).then_some(recording)
    }

    /// Whether a recording has failed as the attempt did.
    pub(super) fn is_same(&self, recording: &Recording) -> bool {
        let Some(fingerprint) = &self.case.fingerprint else {
            return Outcome::of(&recording.ending).is_failure();
        };
        let output = output::both(&recording.output);
        let test = &self.case.job.test;
        Fingerprint::of(&test.id(), &recording.ending, &output) == *fingerprint
            && (!test.is_together() || failed_tests(&output) == self.case.failed_tests)
    }
}

impl Lab for Bench<'_> {
    fn run(&mut self, script: &Script) -> Option<Tried> {
        let mut recording = self.record(script)?;
        let noted = std::mem::take(&mut recording.noted);
        Some(Tried { same: self.is_same(&recording) && !noted.cut, noted })
    }
}
