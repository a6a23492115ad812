//! The report for CI systems: JUnit, in the dialect of Jenkins and nextest, one test suite for each binary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};
use rrtest_engine::trace::event::Stream;

use super::summary;
use super::tally::{Counted, Standing, Tally};
use crate::attempt::events::{Attempt, Explained, Interference, NeverEnded, Reporter, RunEvent};
use crate::attempt::needy;
use crate::attempt::order::Ran;
use crate::base::exit::CliError;
use crate::base::whole::write_whole_in;
use crate::base::words;
use crate::discover::test::TestId;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::outcome::Outcome;
use crate::ending::output::{self, Excerpt};
use crate::ending::panic::Panic;

/// How much of an attempt's output is told, in bytes of the beginning and of the end of each stream.
const OUTPUT: (usize, usize) = (64 << 10, 192 << 10);

/// So many further failures of a test are told one by one.
const MOST_FURTHER: usize = 20;

/// Collects attempts and writes the report at the end.
#[derive(Debug)]
pub(crate) struct JUnit {
    path: PathBuf,
    tally: Tally,
    /// What is to be told of the tests that did not just pass.
    told: HashMap<TestId, Told>,
}

/// What is to be told of a test.
#[derive(Debug, Default)]
struct Told {
    /// The first attempt that did not pass.
    worst: Option<NonSuccess>,
    /// Those that did not pass after it.
    further: Vec<NonSuccess>,
    /// The first that did not end.
    unfinished: Option<NonSuccess>,
    /// Those that failed because another attempt ran beside them, and passed alone.
    disturbed: Vec<NonSuccess>,
    traces: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct NonSuccess {
    /// None if there was no attempt.
    outcome: Option<Outcome>,
    /// Which attempt it was; none if there was none.
    number: Option<u64>,
    /// The file of the pin that was tried, if it was one.
    pinned: Option<Arc<str>>,
    seed: Option<String>,
    message: String,
    stdout: String,
    stderr: String,
    wall: Duration,
}

impl JUnit {
    /// Write to this file.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), tally: Tally::default(), told: HashMap::new() }
    }

    fn collect(&mut self, attempt: &Attempt) {
        if attempt.outcome == Outcome::Passed && attempt.trace.is_none() {
            return;
        }
        let told = self.told.entry(attempt.test.which()).or_default();
        told.traces.extend(attempt.trace.iter().map(|kept| kept.path.clone()));
        match (attempt.outcome, &told.worst) {
            (Outcome::Passed, _) => {}
            // It says nothing if others have ended.
            (Outcome::Unfinished, _) => {
                told.unfinished.get_or_insert_with(|| NonSuccess::of(attempt));
            }
            (_, None) => told.worst = Some(NonSuccess::of(attempt)),
            // A failure of the test is the news, not one of ours before it.
            (outcome, Some(worst)) if outcome.is_failure() && worst.outcome.is_some_and(Outcome::is_ours) => {
                let ours = told.worst.replace(NonSuccess::of(attempt));
                told.further.extend(ours);
            }
            (_, Some(_)) if told.further.len() < MOST_FURTHER => told.further.push(NonSuccess::of(attempt)),
            _ => {}
        }
    }

    /// Adds an explanation to what is told of its attempt.
    fn explain(&mut self, explained: &Explained) {
        let Some(told) = self.told.get_mut(&explained.test.which()) else { return };
        let of = |failure: &&mut NonSuccess| {
            (failure.number, &failure.pinned) == (Some(explained.number), &explained.pinned)
        };
        if let Some(failure) = told.worst.iter_mut().chain(&mut told.further).find(of) {
            failure.message = format!("{}\n{}", failure.message, explained.explanation.lines().join("\n"));
        }
        if !told.traces.contains(&explained.trace.path) {
            told.traces.push(explained.trace.path.clone());
        }
    }

    fn collect_disturbed(&mut self, interference: &Interference) {
        let told = self.told.entry(interference.test.which()).or_default();
        if told.disturbed.len() < MOST_FURTHER {
            told.disturbed.push(NonSuccess::disturbed(interference));
        }
    }

    /// Of this test nothing is known: it does not count as passed.
    fn never_ended(&mut self, never: &NeverEnded) {
        let (what, why) = summary::never_ended(never);
        let told = self.told.entry(never.test.which()).or_default();
        let unfinished = told.unfinished.take().unwrap_or_default();
        let message = format!("{what}: {why}\n{}", unfinished.message);
        let outcome = Some(Outcome::Unfinished);
        told.worst = Some(NonSuccess { outcome, message: message.trim_end().to_owned(), ..unfinished });
    }

    fn write(&self) -> std::io::Result<()> {
        let mut report = Report::new("rrtest");
        let mut suites: Vec<TestSuite> = Vec::new();
        let nothing = Told::default();
        for counted in self.tally.tests() {
            let binary = counted.test.binary.as_str();
            let index = suites.iter().position(|suite| suite.name.as_str() == binary).unwrap_or_else(|| {
                suites.push(TestSuite::new(binary));
                suites.len() - 1
            });
            let told = self.told.get(&counted.test).unwrap_or(&nothing);
            suites[index].add_test_case(told.case(counted));
        }
        report.add_test_suites(suites);
        write_whole_in(&self.path, report.to_string().map_err(std::io::Error::other)?.as_bytes())
    }
}

impl NonSuccess {
    fn of(attempt: &Attempt) -> Self {
        let [stdout, stderr] = [Stream::Stdout, Stream::Stderr].map(|stream| {
            Excerpt::of(&output::text(&attempt.output, &[stream]), OUTPUT.0, OUTPUT.1).joined()
        });
        let panic = Panic::of(&attempt.output).filter(|_| attempt.outcome == Outcome::Failed);
        let panic = panic.map(|panic| format!("panicked at {}: {}", panic.place(), panic.message));
        let ending =
            || attempt.ending.as_ref().map(|ending| describe::ending(ending, Frames::Own).join("\n"));
        let what = panic.or_else(ending).filter(|_| !attempt.outcome.is_ours());
        let what = what.map(|what| match &attempt.failed_tests[..] {
            [] => what,
            failed => format!("{} failed: {what}", failed.join(", ")),
        });
        let again = attempt.repeats.map(|first| format!("the same failure as in {}", words::attempt(first)));
        let pinned = attempt.pinned.iter().map(|file| format!("pinned: {file}"));
        let order = attempt.ran.iter().flat_map(Ran::lines);
        let needy = attempt.passes_together.then(|| needy::SENTENCE.to_owned());
        let message: Vec<_> = what
            .into_iter()
            .chain(attempt.message.clone())
            .chain(again)
            .chain(pinned)
            .chain(order)
            .chain(needy)
            .collect();
        // What repeats another failure has written much the same.
        let [stdout, stderr] = if attempt.repeats.is_some() { Default::default() } else { [stdout, stderr] };
        Self {
            outcome: Some(attempt.outcome),
            number: Some(attempt.number),
            pinned: attempt.pinned.clone(),
            seed: Some(attempt.seed.to_string()),
            message: message.join("\n"),
            stdout,
            stderr,
            wall: attempt.wall,
        }
    }

    fn disturbed(interference: &Interference) -> Self {
        let with = match &interference.with {
            Some((test, number)) => format!("{} ({})", test.id(), words::attempt(*number)),
            None => "another `cargo rrtest`".to_owned(),
        };
        Self {
            outcome: Some(interference.outcome),
            number: Some(interference.number),
            seed: Some(interference.seed.to_string()),
            message: format!(
                "{} failed while {with} also used {}; it passes alone",
                words::attempt(interference.number),
                interference.thing
            ),
            wall: interference.wall,
            ..Self::default()
        }
    }

    fn kind(&self) -> NonSuccessKind {
        match self.outcome {
            Some(outcome) if outcome.is_ours() => NonSuccessKind::Error,
            _ => NonSuccessKind::Failure,
        }
    }

    fn type_name(&self) -> &'static str {
        self.outcome.map_or("unknown", Outcome::name)
    }

    fn first_line(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// As one of several failures of a test.
    fn as_rerun(&self) -> TestRerun {
        let mut rerun = TestRerun::new(self.kind());
        rerun.set_type(self.type_name()).set_message(self.first_line()).set_time(self.wall);
        let seed = self.seed.iter().map(|seed| format!("seed {seed}"));
        let lines: Vec<_> = std::iter::once(self.message.clone()).chain(seed).collect();
        rerun.set_description(lines.join("\n"));
        if !self.stdout.is_empty() || !self.stderr.is_empty() {
            rerun.set_system_out(self.stdout.as_str()).set_system_err(self.stderr.as_str());
        }
        rerun
    }
}

impl Told {
    /// A test that failed is a failure, however often it passed: a retry is no remedy here. What failed only because of another
    /// attempt and passed alone is what the dialect calls flaky.
    fn case(&self, counted: &Counted) -> TestCase {
        let mut status = match (&self.worst, counted.standing()) {
            (Some(worst), _) => {
                let mut status = TestCaseStatus::non_success(worst.kind());
                status.set_type(worst.type_name()).set_message(worst.first_line());
                status.set_description(worst.message.as_str());
                status
            }
            (None, standing @ (Standing::Ignored | Standing::NeverRan)) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(match standing {
                    Standing::Ignored => "ignored",
                    _ => "never ran: the run ended before an attempt at it did",
                });
                status
            }
            (None, _) => TestCaseStatus::success(),
        };
        let runs = if self.worst.is_some() { &self.further } else { &self.disturbed };
        // A skipped test has none.
        if !matches!(status, TestCaseStatus::Skipped { .. }) {
            status.add_reruns(runs.iter().map(NonSuccess::as_rerun));
        }
        let mut case = TestCase::new(counted.test.title(), status);
        case.set_classname(counted.test.binary.as_str()).set_time(counted.wall);
        case.add_property(Property::new("attempts", counted.attempts.to_string()));
        case.add_property(Property::new("failures", counted.failed.to_string()));
        for trace in &self.traces {
            case.add_property(Property::new("trace", trace.display().to_string()));
        }
        if let Some(worst) = &self.worst {
            if let Some(seed) = &worst.seed {
                case.add_property(Property::new("seed", seed.as_str()));
            }
            case.set_system_out(&worst.stdout).set_system_err(&worst.stderr);
        }
        case
    }
}

impl Reporter for JUnit {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        self.tally.count(event);
        match event {
            RunEvent::Attempt(attempt) => self.collect(attempt),
            RunEvent::Interference(interference) => self.collect_disturbed(interference),
            RunEvent::Explained(explained) => self.explain(explained),
            RunEvent::Summary(summary) => {
                summary.not_green().for_each(|never| self.never_ended(never));
                self.write().map_err(|error| {
                    CliError::os(format!("cannot write the JUnit report {}", self.path.display()), &error)
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::events::samples::{attempt, written};
    use crate::attempt::events::{RunEvent, Summary};
    use crate::base::exit::Status;
    use crate::discover::test::Test;

    #[test]
    fn a_test_that_failed_once_is_a_failure() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/report.xml");
        let mut junit = JUnit::new(&path);
        let passed = Attempt { outcome: Outcome::Passed, trace: None, ..attempt() };
        let mut failed = attempt();
        failed.output = written(&[
            (Stream::Stdout, "one\n"),
            (Stream::Stderr, "thread 't' panicked at src/lib.rs:1:2:\n<&> is bad\n"),
        ]);
        for attempt in [passed, failed] {
            junit.report(&RunEvent::Attempt(Box::new(attempt))).expect("nothing to write yet");
        }
        let summary = Summary {
            attempts: 2,
            tests: 1,
            together: false,
            passed: 1,
            failures: 1,
            errors: 0,
            ..Summary::of_none(1, false)
        };
        junit.report(&RunEvent::Summary(summary)).expect("a report");
        let text = std::fs::read_to_string(path).expect("the report");
        for part in [
            r#"<testcase name="t" classname="p::it" time="0.008">"#,
            r#"<property name="attempts" value="2"/>"#,
            r#"<property name="trace" value="/traces/p-it-t-abc.rrtrace"/>"#,
            r#"message="panicked at src/lib.rs:1:2: &lt;&amp;&gt; is bad""#,
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_test_that_never_ended_is_a_failure_and_so_is_one_that_never_ran_if_the_run_fails_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report.xml");
        let mut junit = JUnit::new(&path);
        let unfinished = Attempt { outcome: Outcome::Unfinished, ..attempt() };
        let never = |name: &str, attempts| {
            let test = Test { name: Some(name.into()), ..(*unfinished.test).clone() };
            NeverEnded { test: std::sync::Arc::new(test), attempts }
        };
        let never_ended = vec![never("t", 1), never("u", 0)];
        junit.report(&RunEvent::Attempt(Box::new(unfinished))).expect("nothing to write yet");
        let exit_code = Status::NeverRan as u8;
        let summary = Summary { never_ended, exit_code, ..Summary::of_none(2, false) };
        junit.report(&RunEvent::Summary(summary)).expect("a report");
        let text = std::fs::read_to_string(path).expect("the report");
        for part in [
            r#"tests="2" skipped="0" failures="2""#,
            r#"message="never ended: 1 attempt was still running when the time was up" type="unfinished""#,
            r#"message="never ran: the time was up before its turn came" type="unfinished""#,
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
