//! The report of a run as JSON lines.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::tool::Run;

/// The fields of an attempt's line.
const ATTEMPT: &[&str] = &[
    "event",
    "package",
    "binary",
    "test",
    "attempt",
    "seed",
    "strategy",
    "outcome",
    "exit_code",
    "signal",
    "start",
    "wall_ms",
    "ticks",
    "preempt",
    "preemptions",
    "trace",
    "verified",
];

/// The fields of the last line.
const SUMMARY: &[&str] = &["event", "schema", "attempts", "tests", "failed", "exit_code", "wall_ms"];

/// Those that it has where they apply.
const MORE: &[&str] = &["covered", "explored", "never_ended", "never_ran", "rates"];

/// The fields of the line of an attempt that another one disturbed.
const INTERFERENCE: &[&str] =
    &["event", "package", "binary", "test", "attempt", "seed", "outcome", "thing", "with", "with_attempt"];

/// The fields of the line that says what a failure needs.
const EXPLANATION: &[&str] =
    &["event", "package", "binary", "test", "attempt", "trace", "lines", "explanation"];

/// The fields of the line of a pin.
const PIN: &[&str] = &["event", "package", "binary", "test", "file", "holds", "attempts", "gone"];

/// The fields of the line of a test.
const STANDING: &[&str] = &["event", "package", "binary", "test", "standing", "attempts", "failed", "rate"];

/// Fields of an attempt's line that are there where they apply, and say nothing of the others.
const WHERE_THEY_APPLY: &[&str] = &["panic", "pinned", "repeats", "output"];

/// What a run reported on standard output.
#[derive(Debug)]
pub struct Report {
    /// All attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Those that another one disturbed, each made again alone.
    pub interferences: Vec<Map<String, Value>>,
    /// What was found out of failures.
    pub explanations: Vec<Map<String, Value>>,
    /// The pins that were tried.
    pub pins: Vec<Map<String, Value>>,
    /// How each test stands at the end.
    pub standings: Vec<Map<String, Value>>,
    /// The last line.
    pub summary: Map<String, Value>,
}

/// An attempt's line.
#[derive(Clone, Debug)]
pub struct Attempt(pub Map<String, Value>);

impl Report {
    /// Of a run with `--message-format json`. Each line must be an object with the promised fields, and the summary
    /// must come last.
    ///
    /// # Panics
    /// If that is not so.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let text = String::from_utf8(run.stdout.clone()).unwrap_or_else(|_| panic!("not UTF-8: {run}"));
        assert!(text.ends_with('\n'), "no summary, or an unfinished line: {run}");
        let mut lines: Vec<Map<String, Value>> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}: {run}")))
            .collect();
        let mut summary = lines.pop().expect("a summary");
        let more: Vec<_> = MORE.iter().filter_map(|field| summary.remove_entry(*field)).collect();
        assert_eq!((&summary["event"], keys(&summary)), (&"summary".into(), sorted(SUMMARY)), "{run}");
        summary.extend(more);
        let (standings, lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line["event"] == "test");
        standings.iter().for_each(|line| assert_eq!(keys(line), sorted(STANDING), "{run}"));
        let (explanations, lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line["event"] == "explanation");
        explanations.iter().for_each(|line| assert_eq!(keys(line), sorted(EXPLANATION), "{run}"));
        let (interferences, attempts): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line["event"] == "interference");
        interferences.iter().for_each(|line| assert_eq!(keys(line), sorted(INTERFERENCE), "{run}"));
        let (pins, attempts): (Vec<_>, Vec<_>) =
            attempts.into_iter().partition(|line| line["event"] == "pin");
        pins.iter().for_each(|line| assert_eq!(keys(line), sorted(PIN), "{run}"));
        let attempts = attempts.into_iter().map(Attempt::new).collect();
        Self { attempts, interferences, explanations, pins, standings, summary }
    }

    /// The attempts that did not pass.
    pub fn failing(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.text("outcome") != "passed")
    }

    /// The traces that were kept.
    #[must_use]
    pub fn traces(&self) -> Vec<PathBuf> {
        self.attempts.iter().filter_map(Attempt::trace).collect()
    }

    /// The tests that were run, `BINARY TEST`, sorted.
    #[must_use]
    pub fn tests(&self) -> Vec<String> {
        let names = self
            .attempts
            .iter()
            .map(|attempt| format!("{} {}", attempt.text("binary"), attempt.text("test")));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Attempt {
    /// A line as an attempt.
    ///
    /// # Panics
    /// If it is not one.
    #[must_use]
    pub fn new(mut line: Map<String, Value>) -> Self {
        let message = line.remove("message");
        let failed_tests = line.remove("failed_tests");
        let start_reason = line.remove("start_reason");
        let waits = line.remove("waits");
        let surprises = line.remove("surprises");
        let struck = line.remove("struck");
        let order = line.remove("order");
        let passes_together = line.remove("passes_together");
        let where_they_apply: Vec<_> = WHERE_THEY_APPLY
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), line.remove(*name)?)))
            .collect();
        assert_eq!(failed_tests.is_some(), line["test"].is_null(), "{line:?}");
        assert_eq!((&line["event"], keys(&line)), (&"attempt".into(), sorted(ATTEMPT)), "{line:?}");
        let ours = ["unsupported", "error"].contains(&line["outcome"].as_str().expect("an outcome"));
        // Besides, a failure may tell why its trace cannot be kept.
        assert!(message.is_some() == ours || message.is_some() && line["trace"].is_null(), "{line:?}");
        let hangs =
            ["deadlocked", "hung", "unfinished"].contains(&line["outcome"].as_str().expect("an outcome"));
        assert!(waits.is_some() == hangs || ours, "{line:?}");
        assert!(order.is_none() || failed_tests.is_some(), "{line:?}");
        assert!(passes_together.is_none() || failed_tests.is_none(), "{line:?}");
        line.extend(where_they_apply);
        line.extend(surprises.map(|surprises| ("surprises".to_owned(), surprises)));
        line.extend(struck.map(|struck| ("struck".to_owned(), struck)));
        line.extend(order.map(|order| ("order".to_owned(), order)));
        line.extend(passes_together.map(|passes| ("passes_together".to_owned(), passes)));
        line.extend(waits.map(|waits| ("waits".to_owned(), waits)));
        line.extend(message.map(|message| ("message".to_owned(), message)));
        line.extend(start_reason.map(|reason| ("start_reason".to_owned(), reason)));
        line.extend(failed_tests.map(|tests| ("failed_tests".to_owned(), tests)));
        Self(line)
    }

    /// A field that is a text.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("{field} is no text: {self:?}"))
    }

    /// A field that is a number.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_else(|| panic!("{field} is no number: {self:?}"))
    }

    /// The trace, if one was kept.
    ///
    /// # Panics
    /// If it is not there, or not verified.
    #[must_use]
    pub fn trace(&self) -> Option<PathBuf> {
        let trace = PathBuf::from(self.0["trace"].as_str()?);
        assert!(trace.is_absolute() && trace.is_file(), "{self:?}");
        assert_eq!(self.0["verified"], true, "{self:?}");
        Some(trace)
    }
}

fn keys(line: &Map<String, Value>) -> Vec<&str> {
    sorted(&line.keys().map(String::as_str).collect::<Vec<_>>())
}

fn sorted<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys
}
