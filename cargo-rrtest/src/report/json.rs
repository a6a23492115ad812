//! The report for programs: one JSON object a line on standard output.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;

use rrtest_engine::ending::Ending;
use serde::Serialize;

use super::tally::{Counted, Standing, Tally};
use crate::attempt::events::{
    Attempt, Covered, Explained, Explored, Interference, NeverEnded, NotBuilt, Rate, Reporter, RunEvent,
    Summary, Verified,
};
use crate::attempt::order::Ran;
use crate::attempt::pins::PinTried;
use crate::base::exit::CliError;
use crate::ending::explanation::{Explanation, Place, Rate as OfRuns};
use crate::ending::outcome::Outcome;
use crate::ending::output::{self, Excerpt};
use crate::ending::panic::Panic;
use crate::ending::strikes;
use crate::ending::waits::{Waiting, waits};

/// Writes the report.
#[derive(Debug)]
pub(crate) struct Json<W> {
    out: W,
    tally: Tally,
}

impl<W: Write> Json<W> {
    /// Write to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out, tally: Tally::default() }
    }

    /// What it has been written to.
    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

/// The version of what is written, which docs/report.schema.json describes. Fields may be added to it.
const SCHEMA: u32 = 1;

/// How much of an attempt's output is told, in bytes of its beginning and of its end.
const OUTPUT: (usize, usize) = (8 << 10, 24 << 10);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    #[serde(rename = "not_built")]
    NotBuilt(NotBuiltLine<'a>),
    Attempt(Box<AttemptLine<'a>>),
    Interference(InterferenceLine<'a>),
    Explanation(Box<ExplanationLine<'a>>),
    Verified(VerifiedLine<'a>),
    Pin(PinLine<'a>),
    Test(TestLine<'a>),
    Summary(SummaryLine<'a>),
}

#[derive(Serialize)]
struct NotBuiltLine<'a> {
    /// Whether the code is at fault, or there was no time for it.
    reason: &'static str,
    message: &'a str,
    exit_code: u8,
}

/// How often a test failed.
#[derive(Serialize)]
struct RateLine<'a> {
    test: &'a str,
    attempts: u64,
    failed: u64,
    /// Failures that are not like an earlier one.
    distinct: u64,
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    package: &'a str,
    binary: &'a str,
    /// None for the binary's tests together.
    test: Option<&'a str>,
    attempt: u64,
    /// Only where its schedule was that of a pin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<&'a str>,
    seed: String,
    strategy: &'static str,
    preempt: &'static str,
    outcome: Outcome,
    exit_code: Option<i32>,
    signal: Option<i32>,
    start: &'static str,
    /// Only where it was to be forked.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_reason: Option<&'a str>,
    wall_ms: f64,
    ticks: u64,
    preemptions: u64,
    /// How often each kind has struck, if any has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    surprises: BTreeMap<&'static str, u32>,
    /// What those in time have done, a sentence each, where the attempt failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    struck: Vec<String>,
    trace: Option<Cow<'a, str>>,
    verified: Option<bool>,
    /// Only for tests together.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_tests: Option<&'a [String]>,
    /// Only where those were not run in the usual way, and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a Ran>,
    /// Only where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    passes_together: bool,
    /// Only where threads hang.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Vec<Waiting<'a>>>,
    /// Only where the outcome is ours, or the trace cannot be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// Only where it panicked, and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    panic: Option<PanicField>,
    /// Which attempt at the same test failed in the same way before.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<u64>,
    /// Only where it wrote something, did not pass, and repeats no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Excerpt>,
}

#[derive(Serialize)]
struct PanicField {
    message: String,
    file: String,
    line: u32,
    column: u32,
}

#[derive(Serialize)]
struct TestLine<'a> {
    package: &'a str,
    binary: &'a str,
    /// None for the binary's tests together.
    test: Option<&'a str>,
    standing: Standing,
    attempts: u64,
    failed: u64,
    /// Failed of attempts; none if there is no attempt.
    rate: Option<f64>,
}

#[derive(Serialize)]
struct InterferenceLine<'a> {
    package: &'a str,
    binary: &'a str,
    /// None for the binary's tests together.
    test: Option<&'a str>,
    attempt: u64,
    seed: String,
    outcome: Outcome,
    /// What both used.
    thing: &'a str,
    /// The test of the other attempt, and its number; none for one of another `cargo rrtest`.
    with: Option<String>,
    with_attempt: Option<u64>,
}

#[derive(Serialize)]
struct ExplanationLine<'a> {
    package: &'a str,
    binary: &'a str,
    /// None for the binary's tests together.
    test: Option<&'a str>,
    attempt: u64,
    trace: Cow<'a, str>,
    /// In words, a line each.
    lines: Vec<String>,
    explanation: &'a Explanation,
}

impl<'a> From<&'a Explained> for ExplanationLine<'a> {
    fn from(explained: &'a Explained) -> Self {
        let Explained { test, number, pinned: _, explanation, trace, replaced: _ } = explained;
        Self {
            package: &test.package,
            binary: &test.binary,
            test: test.name.as_deref(),
            attempt: *number,
            trace: trace.path.to_string_lossy(),
            lines: explanation.lines(),
            explanation,
        }
    }
}

#[derive(Serialize)]
struct VerifiedLine<'a> {
    package: &'a str,
    binary: &'a str,
    test: Option<&'a str>,
    before: OfRuns,
    near: OfRuns,
    elsewhere: OfRuns,
    /// The failure rate elsewhere that is excluded at 95%; none if there was a failure, or no attempt.
    excluded: Option<f64>,
    gone: &'a [Place],
}

impl<'a> From<&'a Verified> for VerifiedLine<'a> {
    fn from(verified: &'a Verified) -> Self {
        let Verified { test, before, near, elsewhere, gone } = verified;
        Self {
            package: &test.package,
            binary: &test.binary,
            test: test.name.as_deref(),
            before: *before,
            near: *near,
            elsewhere: *elsewhere,
            excluded: verified.excluded(),
            gone,
        }
    }
}

#[derive(Serialize)]
struct PinLine<'a> {
    package: &'a str,
    binary: &'a str,
    test: Option<&'a str>,
    file: &'a str,
    /// Whether the test passes under it; none if a place is gone, and the test passes where that was.
    holds: Option<bool>,
    attempts: u64,
    gone: &'a [Place],
}

impl<'a> From<&'a PinTried> for PinLine<'a> {
    fn from(tried: &'a PinTried) -> Self {
        let PinTried { test, file, attempts, fails, gone } = tried;
        Self {
            package: &test.package,
            binary: &test.binary,
            test: test.name.as_deref(),
            file,
            holds: if *fails { Some(false) } else { gone.is_empty().then_some(true) },
            attempts: *attempts,
            gone,
        }
    }
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    schema: u32,
    attempts: u64,
    tests: usize,
    failed: &'a [String],
    /// Of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rates: Vec<RateLine<'a>>,
    /// Tests whose attempts had not ended when the time was over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    never_ended: Vec<String>,
    /// Tests that had no attempt by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    never_ran: Vec<String>,
    exit_code: u8,
    wall_ms: f64,
    /// Where all schedules were to be gone through.
    #[serde(skip_serializing_if = "<[Explored]>::is_empty")]
    explored: &'a [Explored],
    /// Where there were guided attempts.
    #[serde(skip_serializing_if = "<[Covered]>::is_empty")]
    covered: &'a [Covered],
}

impl<'a> From<&'a Attempt> for AttemptLine<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let (exit_code, signal) = match &attempt.ending {
            Some(Ending::Exited(code)) => (Some(*code), None),
            Some(Ending::Killed { signal, .. }) => (None, Some(*signal)),
            _ => (None, None),
        };
        // Of many passed attempts nobody wants the output to be searched.
        let panicked = attempt.outcome.is_failure().then(|| Panic::of(&attempt.output)).flatten();
        Self {
            package: &attempt.test.package,
            binary: &attempt.test.binary,
            test: attempt.test.name.as_deref(),
            attempt: attempt.number,
            pinned: attempt.pinned.as_deref(),
            seed: attempt.seed.to_string(),
            strategy: attempt.strategy.as_str(),
            preempt: attempt.level.name(),
            outcome: attempt.outcome,
            exit_code,
            signal,
            start: attempt.start.name(),
            start_reason: attempt.start.reason(),
            wall_ms: milliseconds(attempt.wall),
            ticks: attempt.stats.ticks,
            preemptions: attempt.stats.preemptions,
            surprises: attempt.struck.iter().map(|(kind, count)| (kind.as_str(), count)).collect(),
            struck: if attempt.outcome.is_failure() {
                strikes::sentences(&attempt.strikes)
            } else {
                Vec::new()
            },
            trace: attempt.trace.as_ref().map(|kept| kept.path.to_string_lossy()),
            verified: attempt.trace.as_ref().map(|kept| kept.verified),
            failed_tests: attempt.test.is_together().then_some(attempt.failed_tests.as_slice()),
            order: attempt.ran.as_ref(),
            passes_together: attempt.passes_together,
            waits: attempt.ending.as_ref().and_then(waits),
            message: attempt.message.as_deref(),
            panic: panicked.map(PanicField::from),
            repeats: attempt.repeats,
            output: output(attempt),
        }
    }
}

/// The two ends of what an attempt wrote that did not pass. One that repeats another wrote much the same.
fn output(attempt: &Attempt) -> Option<Excerpt> {
    let told = attempt.outcome != Outcome::Passed && attempt.repeats.is_none();
    let excerpt = told.then(|| Excerpt::of(&output::both(&attempt.output), OUTPUT.0, OUTPUT.1));
    excerpt.filter(|excerpt| !excerpt.head.is_empty())
}

impl From<Panic> for PanicField {
    fn from(Panic { file, line, column, message }: Panic) -> Self {
        Self { message, file, line, column }
    }
}

impl<'a> From<&'a Counted> for TestLine<'a> {
    fn from(counted: &'a Counted) -> Self {
        Self {
            package: &counted.test.package,
            binary: &counted.test.binary,
            test: counted.test.name.as_deref(),
            standing: counted.standing(),
            attempts: counted.attempts,
            failed: counted.failed,
            rate: counted.rate(),
        }
    }
}

impl<'a> From<&'a Interference> for InterferenceLine<'a> {
    fn from(interference: &'a Interference) -> Self {
        let Interference { test, number, seed, outcome, thing, with, .. } = interference;
        Self {
            package: &test.package,
            binary: &test.binary,
            test: test.name.as_deref(),
            attempt: *number,
            seed: seed.to_string(),
            outcome: *outcome,
            thing,
            with: with.as_ref().map(|(test, _)| test.id()),
            with_attempt: with.as_ref().map(|(_, number)| *number),
        }
    }
}

impl<'a> From<&'a Summary> for SummaryLine<'a> {
    fn from(summary: &'a Summary) -> Self {
        Self {
            schema: SCHEMA,
            attempts: summary.attempts,
            tests: summary.tests,
            failed: &summary.failed,
            rates: summary
                .failed
                .iter()
                .filter_map(|test| Some(rate(test, summary.rates.get(test)?)))
                .collect(),
            never_ended: summary.never_ended.iter().filter(|never| never.attempts > 0).map(id).collect(),
            never_ran: summary.never_ran().map(id).collect(),
            exit_code: summary.exit_code,
            explored: &summary.explored,
            covered: &summary.covered,
            wall_ms: milliseconds(summary.wall),
        }
    }
}

fn id(never: &NeverEnded) -> String {
    never.test.id()
}

fn rate<'a>(test: &'a str, rate: &Rate) -> RateLine<'a> {
    let Rate { attempts, failures, distinct } = *rate;
    RateLine { test, attempts, failed: failures, distinct }
}

/// Milliseconds, to the microsecond.
fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

impl<W: Write> Json<W> {
    fn write(&mut self, line: &Line<'_>) -> Result<(), CliError> {
        serde_json::to_writer(&mut self.out, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush())
            .map_err(|error| CliError::unwritten("cannot write to standard output", &error))
    }
}

impl<W: Write> Reporter for Json<W> {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        self.tally.count(event);
        match event {
            RunEvent::Interference(interference) => self.write(&Line::Interference(interference.into())),
            RunEvent::Explained(explained) => {
                self.write(&Line::Explanation(Box::new(explained.as_ref().into())))
            }
            RunEvent::Pin(tried) => self.write(&Line::Pin(tried.as_ref().into())),
            RunEvent::Verified(verified) => self.write(&Line::Verified(verified.as_ref().into())),
            RunEvent::Attempt(attempt) => self.write(&Line::Attempt(Box::new(attempt.as_ref().into()))),
            RunEvent::Summary(summary) => {
                let tally = std::mem::take(&mut self.tally);
                tally.tests().iter().try_for_each(|counted| self.write(&Line::Test(counted.into())))?;
                self.write(&Line::Summary(summary.into()))
            }
            RunEvent::NotBuilt(NotBuilt { too_late, message, exit_code }) => {
                let reason = if *too_late { "deadline" } else { "failed" };
                self.write(&Line::NotBuilt(NotBuiltLine { reason, message, exit_code: *exit_code }))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::events::samples::attempt;
    use crate::attempt::start::Start;

    fn written(event: &RunEvent) -> String {
        let mut json = Json::new(Vec::new());
        json.report(event).expect("memory");
        String::from_utf8(json.out).expect("text")
    }

    #[test]
    fn tests_that_never_ended_are_named() {
        let never = NeverEnded { test: attempt().test, attempts: 1 };
        let summary = Summary { never_ended: vec![never], ..Summary::of_none(1, false) };
        let lines = written(&RunEvent::Summary(summary));
        let [test, line] = [0, 1].map(|index| lines.lines().nth(index).unwrap_or_default());
        let [test, line] =
            [test, line].map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"));
        assert_eq!((&test["standing"], &test["rate"]), (&"never_ended".into(), &serde_json::Value::Null));
        assert_eq!(line["never_ended"], serde_json::json!(["p::it t"]));
    }

    #[test]
    fn an_attempt_that_was_not_forked_says_why() {
        let fell_back = Attempt { start: Start::FellBack("it has files open".into()), ..attempt() };
        let line: serde_json::Value =
            serde_json::from_str(&written(&RunEvent::Attempt(Box::new(fell_back)))).expect("json");
        assert_eq!((&line["start"], &line["start_reason"]), (&"full".into(), &"it has files open".into()));
    }

    #[test]
    fn a_crash_has_a_signal_and_an_error_a_message() {
        let ending = Some(Ending::Killed { signal: 11, task: rrtest_engine::task::TaskId(1), tasks: vec![] });
        let line = written(&RunEvent::Attempt(Box::new(Attempt {
            ending,
            message: Some("why".into()),
            ..attempt()
        })));
        let line: serde_json::Value = serde_json::from_str(&line).expect("json");
        assert_eq!((&line["exit_code"], &line["signal"]), (&serde_json::Value::Null, &11.into()));
        assert_eq!(line["message"], "why");
    }
}
