//! Whether an explained failure still comes about: the old schedule, those like it, and then any others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agenda::{Agenda, Subject};
use super::dispatch;
use crate::attempt::events::{Attempt, Reporter, RunEvent, Summary, Verified, tell};
use crate::attempt::record::{Job, Setting};
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::discover::test::Test;
use crate::ending::explanation::{Explanation, Rate};
use crate::explain::again::{Again, again, job};

/// What part of the time the neighbourhood of the old schedule may have.
const NEAR: u32 = 2;

/// What it takes to try.
pub(crate) struct Attempts<'a> {
    pub(crate) old: &'a Explanation,
    pub(crate) tests: Vec<Test>,
    pub(crate) level: Level,
    pub(crate) agenda: Agenda,
    pub(crate) setting: &'a Setting<'a>,
    pub(crate) cores: &'a [usize],
    pub(crate) interrupt: &'a Interrupt,
}

impl Attempts<'_> {
    /// Try the old schedule, those like it, and any others for the rest of the time.
    pub(crate) fn make(self, reporters: &mut [Box<dyn Reporter>]) -> Result<Summary, CliError> {
        let start = Instant::now();
        let time = self.agenda.time.unwrap_or_default();
        let test = Arc::new(self.tests[0].clone());
        let found = std::thread::scope(|scope| {
            // The recorder binds its thread to a core.
            let asked = scope.spawn(|| self.near(&test, time / NEAR));
            asked.join().unwrap_or_else(|_| Err(CliError::said(Status::Recorder)))
        });
        let (found, attempt) = found?;
        let Self { old, tests, level, mut agenda, setting, cores, interrupt } = self;
        let mut verified = Verified {
            test: Arc::clone(&test),
            before: old.with,
            near: found.near,
            elsewhere: Rate::default(),
            gone: found.gone,
        };
        if let Some(attempt) = attempt {
            let mut summary = Summary::of_none(1, false);
            summary.count(&attempt);
            summary.wall = start.elapsed();
            tell(reporters, &RunEvent::Attempt(Box::new(attempt)))?;
            tell(reporters, &RunEvent::Verified(Box::new(verified)))?;
            return Ok(summary);
        }
        agenda.time = Some(time.saturating_sub(start.elapsed()).max(Duration::from_millis(100)));
        let subject = Subject { tests, pins: Vec::new(), ignored: Vec::new(), level, other: None };
        let summary = dispatch::run(subject, agenda, setting, cores, interrupt, reporters)?;
        verified.elsewhere = Rate { failed: summary.failures, runs: summary.attempts };
        tell(reporters, &RunEvent::Verified(Box::new(verified)))?;
        Ok(summary)
    }

    /// Tries the neighbourhood. What fails there is recorded once more, and kept.
    fn near(&self, test: &Arc<Test>, time: Duration) -> Result<(Again, Option<Attempt>), CliError> {
        let Self { old, level, setting, .. } = *self;
        let (core, stop) = (self.cores.first().copied().unwrap_or(0), &self.interrupt.by_user);
        let seed = old.seed.parse().map_err(|why: String| {
            CliError::usage(format!("another version of rrtest has written the trace: its {why}"))
        })?;
        let job = job(test, level, seed);
        let found = again(setting, &job, old, core, stop, time)?;
        let Some(script) = found.failing.clone() else { return Ok((found, None)) };
        let made = setting.record(Job { script: Some(script), ..job }, core, None, stop)?;
        let attempt = setting.judge(made, core, stop);
        Ok((found, Some(attempt)))
    }
}
