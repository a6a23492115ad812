//! The report for CI systems: JUnit, in the dialect of Jenkins, one test suite for each binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use rrtest_engine::trace::event::Stream;

use super::summary;
use crate::attempt::events::{Attempt, NeverEnded, Reporter, RunEvent};
use crate::attempt::needy;
use crate::attempt::order::Ran;
use crate::base::exit::CliError;
use crate::discover::test::Test;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::fingerprint::first_panic;
use crate::ending::outcome::Outcome;
use crate::ending::output;

/// Collects attempts and writes the report at the end.
#[derive(Debug)]
pub(crate) struct JUnit {
    path: PathBuf,
    /// In order of their first attempt.
    tests: Vec<Collected>,
}

/// What was seen of one test.
#[derive(Debug)]
struct Collected {
    binary: String,
    name: String,
    attempts: u64,
    failures: u64,
    wall: Duration,
    /// The first attempt that did not pass.
    worst: Option<NonSuccess>,
    /// The first that did not end.
    unfinished: Option<NonSuccess>,
    traces: Vec<PathBuf>,
}

#[derive(Debug)]
struct NonSuccess {
    outcome: Outcome,
    seed: Option<String>,
    message: String,
    stdout: String,
    stderr: String,
}

impl JUnit {
    /// Write to this file.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), tests: Vec::new() }
    }

    /// What has been seen of a test.
    fn of(&mut self, test: &Test) -> &mut Collected {
        let known =
            self.tests.iter().position(|known| known.binary == test.binary && known.name == test.title());
        let index = known.unwrap_or_else(|| {
            self.tests.push(Collected {
                binary: test.binary.clone(),
                name: test.title().to_owned(),
                attempts: 0,
                failures: 0,
                wall: Duration::ZERO,
                worst: None,
                unfinished: None,
                traces: Vec::new(),
            });
            self.tests.len() - 1
        });
        &mut self.tests[index]
    }

    fn collect(&mut self, attempt: &Attempt) {
        let collected = self.of(&attempt.test);
        if attempt.outcome == Outcome::Unfinished {
            // It says nothing if others have ended.
            collected.unfinished.get_or_insert_with(|| NonSuccess::of(attempt));
            collected.traces.extend(attempt.trace.iter().map(|kept| kept.path.clone()));
            return;
        }
        collected.attempts += 1;
        collected.failures += u64::from(attempt.outcome.is_failure());
        collected.wall += attempt.wall;
        collected.traces.extend(attempt.trace.iter().map(|kept| kept.path.clone()));
        if attempt.outcome != Outcome::Passed && collected.worst.is_none() {
            collected.worst = Some(NonSuccess::of(attempt));
        }
    }

    /// Of this test nothing is known: it does not count as passed.
    fn never_ended(&mut self, never: &NeverEnded) {
        let (what, why) = summary::never_ended(never);
        let collected = self.of(&never.test);
        let unfinished = collected.unfinished.take().unwrap_or_else(|| NonSuccess {
            outcome: Outcome::Unfinished,
            seed: None,
            message: String::new(),
            stdout: String::new(),
            stderr: String::new(),
        });
        let message = format!("{what}: {why}\n{}", unfinished.message);
        collected.worst = Some(NonSuccess { message: message.trim_end().to_owned(), ..unfinished });
    }

    fn write(&self) -> std::io::Result<()> {
        let mut report = Report::new("rrtest");
        let mut suites: Vec<TestSuite> = Vec::new();
        for test in &self.tests {
            let index =
                suites.iter().position(|suite| suite.name.as_str() == test.binary).unwrap_or_else(|| {
                    suites.push(TestSuite::new(test.binary.as_str()));
                    suites.len() - 1
                });
            suites[index].add_test_case(test.case());
        }
        report.add_test_suites(suites);
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(report.to_string().map_err(std::io::Error::other)?.as_bytes())?;
        file.persist(&self.path)?;
        Ok(())
    }
}

impl NonSuccess {
    fn of(attempt: &Attempt) -> Self {
        let [stdout, stderr] =
            [Stream::Stdout, Stream::Stderr].map(|stream| output::text(&attempt.output, &[stream]));
        // libtest shows what it has captured of several tests on its standard output.
        let panic = [&stderr, &stdout].into_iter().find_map(|text| first_panic(text));
        let panic = panic.filter(|_| attempt.outcome == Outcome::Failed);
        let panic = panic.map(|panic| format!("panicked at {panic}"));
        let ending =
            || attempt.ending.as_ref().map(|ending| describe::ending(ending, Frames::Own).join("\n"));
        let what = panic.or_else(ending).filter(|_| !attempt.outcome.is_ours());
        let what = what.map(|what| match &attempt.failed_tests[..] {
            [] => what,
            failed => format!("{} failed: {what}", failed.join(", ")),
        });
        let order = attempt.ran.iter().flat_map(Ran::lines);
        let needy = attempt.passes_together.then(|| needy::SENTENCE.to_owned());
        let message: Vec<_> =
            what.into_iter().chain(attempt.message.clone()).chain(order).chain(needy).collect();
        Self {
            outcome: attempt.outcome,
            seed: Some(attempt.seed.to_string()),
            message: message.join("\n"),
            stdout,
            stderr,
        }
    }
}

impl Collected {
    fn case(&self) -> TestCase {
        let status = match &self.worst {
            None => TestCaseStatus::success(),
            Some(worst) => {
                let kind =
                    if worst.outcome.is_ours() { NonSuccessKind::Error } else { NonSuccessKind::Failure };
                let mut status = TestCaseStatus::non_success(kind);
                status
                    .set_type(worst.outcome.name())
                    .set_message(worst.message.lines().next().unwrap_or_default());
                status.set_description(worst.message.as_str());
                status
            }
        };
        let mut case = TestCase::new(self.name.as_str(), status);
        case.set_classname(self.binary.as_str()).set_time(self.wall);
        case.add_property(Property::new("attempts", self.attempts.to_string()));
        case.add_property(Property::new("failures", self.failures.to_string()));
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
        match event {
            RunEvent::Attempt(attempt) => self.collect(attempt),
            RunEvent::Summary(summary) => {
                summary.never_ended.iter().for_each(|never| self.never_ended(never));
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
    fn a_test_that_never_ended_is_a_failure() {
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
        let summary = Summary { never_ended, ..Summary::of_none(2, false) };
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
