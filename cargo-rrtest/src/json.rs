//! The report for programs: one JSON object a line on standard output.

use std::io::Write;
use std::path::Path;

use rrtest_engine::ending::Ending;
use serde::Serialize;

use crate::events::{Attempt, Event, Reporter, Summary};
use crate::exit::Stop;
use crate::outcome::Outcome;

/// Writes the report.
#[derive(Debug)]
pub(crate) struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Write to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Attempt(AttemptLine<'a>),
    Summary(SummaryLine<'a>),
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    package: &'a str,
    binary: &'a str,
    test: &'a str,
    attempt: u64,
    seed: String,
    strategy: &'static str,
    outcome: Outcome,
    exit_code: Option<i32>,
    signal: Option<i32>,
    wall_ms: f64,
    ticks: u64,
    preemptions: u64,
    trace: Option<&'a Path>,
    verified: Option<bool>,
    /// Only where the outcome is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    attempts: u64,
    tests: usize,
    failed: &'a [String],
    wall_ms: f64,
}

impl<'a> From<&'a Attempt> for AttemptLine<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let (exit_code, signal) = match &attempt.ending {
            Some(Ending::Exited(code)) => (Some(*code), None),
            Some(Ending::Killed { signal, .. }) => (None, Some(*signal)),
            _ => (None, None),
        };
        Self {
            package: &attempt.test.package,
            binary: &attempt.test.binary,
            test: &attempt.test.name,
            attempt: attempt.number,
            seed: attempt.seed.to_string(),
            strategy: attempt.strategy.as_str(),
            outcome: attempt.outcome,
            exit_code,
            signal,
            wall_ms: milliseconds(attempt.wall),
            ticks: attempt.stats.ticks,
            preemptions: attempt.stats.preemptions,
            trace: attempt.trace.as_ref().map(|kept| kept.path.as_path()),
            verified: attempt.trace.as_ref().map(|kept| kept.verified),
            message: attempt.message.as_deref(),
        }
    }
}

impl<'a> From<&'a Summary> for SummaryLine<'a> {
    fn from(summary: &'a Summary) -> Self {
        Self {
            attempts: summary.attempts,
            tests: summary.tests,
            failed: &summary.failed,
            wall_ms: milliseconds(summary.wall),
        }
    }
}

/// Milliseconds, to the microsecond.
fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

impl<W: Write> Reporter for Json<W> {
    fn report(&mut self, event: &Event) -> Result<(), Stop> {
        let line = match event {
            Event::Attempt(attempt) => Line::Attempt(attempt.as_ref().into()),
            Event::Summary(summary) => Line::Summary(summary.into()),
            Event::Started(_) | Event::Warning(_) => return Ok(()),
        };
        serde_json::to_writer(&mut self.out, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush())
            .map_err(|error| Stop::os("cannot write to standard output", &error))
    }
}
