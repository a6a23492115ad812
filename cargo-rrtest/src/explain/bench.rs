//! Runs schedules of a failed attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rrtest_engine::Error;
use rrtest_engine::ending::{Ending, Overdue};
use rrtest_engine::explain::{Lab, Tried};
use rrtest_engine::record::{Options, Recording};
use rrtest_engine::schedule::script::Script;
use rrtest_engine::schedule::{Plan, StrategyName};

use super::case::Case;
use crate::attempt::fork_servers::Base;
use crate::attempt::record::Setting;
use crate::ending::fingerprint::Fingerprint;
use crate::ending::output;

/// Runs the attempt of a case again, in other schedules.
pub(super) struct Bench<'a> {
    pub(super) setting: &'a Setting<'a>,
    pub(super) case: &'a Case,
    core: usize,
    base: Base,
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
        Self { setting, case, core, base: Base::Unknown, stop, until, runs: 0, error: None }
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
            until: Some(until),
            measure: false,
            calls_stop: false,
            ..setting.options_of(&case.job, plan, core, stop)
        };
        let program = case.job.order.program(case.job.seed, &case.job.test);
        self.runs += 1;
        let recorded = match case.job.order.is_lasting() {
            true => self.base.record(setting.engine, &program, &options).map(|(recording, _)| recording),
            false => setting.engine.record(&program, &options),
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
        let output = output::both(&recording.output);
        Fingerprint::of(&self.case.job.test.id(), &recording.ending, &output) == self.case.fingerprint
    }
}

impl Lab for Bench<'_> {
    fn run(&mut self, script: &Script) -> Option<Tried> {
        let mut recording = self.record(script)?;
        let noted = std::mem::take(&mut recording.noted);
        Some(Tried { same: self.is_same(&recording) && !noted.cut, noted })
    }
}
