//! A failure that is to be explained.

use std::time::Duration;

use rrtest_engine::schedule::Plan;
use rrtest_engine::schedule::script::Noted;
use rrtest_engine::schedule::surprise::Surprises;
use serde_json::Value;

use crate::attempt::attach::Pending;
use crate::attempt::events::{Attempt, Kept};
use crate::attempt::judge;
use crate::attempt::record::{Job, Setting};
use crate::ending::fingerprint::Fingerprint;
use crate::ending::output;

/// A failure, and all that it takes to make its attempt again.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) job: Job,
    /// Its plan, and what might surprise it.
    pub(crate) plan: Plan,
    pub(crate) surprises: Surprises,
    /// Its schedule.
    pub(crate) noted: Noted,
    /// What makes another failure the same; none: any is.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// The tests that must fail, of several together.
    pub(crate) failed_tests: Vec<String>,
    /// How many preemptions its schedule had.
    pub(crate) preemptions: u64,
    /// How long the attempt took.
    pub(crate) wall: Duration,
    /// What its trace says of itself.
    pub(crate) info: Value,
    pub(crate) trace: Kept,
    /// What is to be attached to the trace that is kept in the end.
    pub(crate) attach: Option<Pending>,
}

impl Case {
    /// Makes one of an attempt that has failed in a new way, and whose trace replays. `None` if there is nothing to explain.
    pub(crate) fn of(attempt: &mut Attempt, job: Job, setting: &Setting<'_>) -> Option<Self> {
        let new = attempt.outcome.is_failure() && attempt.repeats.is_none();
        let trace = attempt.trace.clone().filter(|kept| new && kept.verified)?;
        let plan = job.seed.plan(job.test.strategies(setting.strategies));
        let output = output::both(&attempt.output);
        Some(Self {
            surprises: setting.surprises_of(&job.test, plan.strategy),
            plan,
            noted: std::mem::take(&mut attempt.noted),
            fingerprint: Some(Fingerprint::of(&attempt.test.id(), attempt.ending.as_ref()?, &output)),
            failed_tests: attempt.failed_tests.clone(),
            preemptions: attempt.stats.preemptions,
            wall: attempt.wall,
            info: judge::info(attempt, setting.rustc),
            trace,
            attach: setting.to_attach(attempt),
            job,
        })
    }
}
