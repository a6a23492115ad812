//! The failures of a run, one for each test: the first of its attempts that failed, or that ended for a reason of ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::place::{Place, Sources};
use super::runner::Runner;
use crate::attempt::events::{Attempt, Explained, NeverEnded};
use crate::base::words::shell_word;
use crate::discover::test::TestId;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::outcome::Outcome;
use crate::ending::output::{self, end};
use crate::ending::panic::Panic;
use crate::report::summary;

/// How much is held of an attempt's output: its end.
const OUTPUT: usize = 16 << 10;

/// A test that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// Which test.
    pub(super) test: TestId,
    /// What became of it, in a word or two: `failed`, `never ran`.
    pub(super) what: &'static str,
    /// The panic's message, or what else there is to say.
    pub(super) message: String,
    /// What led to it, if that has been found out.
    pub(super) explanation: Option<String>,
    /// The line it belongs to.
    pub(super) place: Option<Place>,
    /// The attempt that failed; none if there was none.
    pub(super) attempt: Option<u64>,
    /// The file of the pin that was tried, if it was one.
    pub(super) pinned: Option<Arc<str>>,
    /// Its seed.
    pub(super) seed: Option<String>,
    /// The traces that are kept of the test's failures.
    pub(super) traces: Vec<PathBuf>,
    /// The end of what the attempt wrote.
    pub(super) output: String,
}

impl Failure {
    fn of(attempt: &Attempt, sources: &Sources) -> Self {
        let panicked = attempt.outcome == Outcome::Failed;
        let panic = panicked.then(|| Panic::of(&attempt.output)).flatten().map(|panic| panic.message);
        let ending =
            || attempt.ending.as_ref().map(|ending| describe::ending(ending, Frames::Own).join("\n"));
        let failed = (!attempt.failed_tests.is_empty()).then(|| attempt.failed_tests.join(", "));
        let lines = failed.into_iter().chain(panic.or_else(ending)).chain(attempt.message.clone());
        Self {
            test: attempt.test.which(),
            what: attempt.outcome.name(),
            message: anstream::adapter::strip_str(&lines.collect::<Vec<_>>().join("\n")).to_string(),
            explanation: None,
            place: sources.of(attempt),
            attempt: Some(attempt.number),
            pinned: attempt.pinned.clone(),
            seed: Some(attempt.seed.to_string()),
            traces: Vec::new(),
            output: end(&output::both(&attempt.output), OUTPUT).to_owned(),
        }
    }

    /// Whether the test is not to blame.
    pub(super) fn is_ours(&self) -> bool {
        [Outcome::Error, Outcome::Unsupported].iter().any(|outcome| outcome.name() == self.what)
    }

    /// The command that reproduces it anywhere, once its traces are uploaded; from the file, if nobody knows where from.
    pub(super) fn replay_command(&self, runner: &Runner) -> Option<String> {
        let name = self.traces.first()?.file_stem()?.to_string_lossy().into_owned();
        let name = shell_word(&name);
        Some(match (&runner.repository, &runner.run) {
            (Some(repository), Some(run)) => format!("cargo rrtest replay gh:{repository}/{run} {name}"),
            _ => format!("cargo rrtest replay {name}"),
        })
    }
}

/// All of a run.
#[derive(Debug, Default)]
pub(super) struct Failures {
    all: Vec<Failure>,
    /// The traces that the run has kept: a later one may need an earlier one, whatever that is of.
    kept: Vec<PathBuf>,
    /// Traces of attempts that had not ended, which are of interest if no other attempt has.
    unfinished: Vec<(TestId, PathBuf)>,
}

impl Failures {
    /// Takes notice of an attempt.
    pub(super) fn collect(&mut self, attempt: &Attempt, sources: &Sources) {
        let trace = attempt.trace.as_ref().map(|kept| kept.path.clone());
        self.kept.extend(trace.clone());
        let told = attempt.outcome.is_failure() || attempt.outcome.is_ours();
        let test = attempt.test.which();
        if attempt.outcome == Outcome::Unfinished {
            self.unfinished.extend(trace.map(|trace| (test, trace)));
            return;
        }
        let index = match self.all.iter().position(|failure| failure.test == test) {
            Some(index) => {
                // A failure of the test is the news, not one of ours before it.
                if self.all[index].is_ours() && attempt.outcome.is_failure() {
                    let traces = std::mem::take(&mut self.all[index].traces);
                    self.all[index] = Failure { traces, ..Failure::of(attempt, sources) };
                }
                index
            }
            None if told => {
                self.all.push(Failure::of(attempt, sources));
                self.all.len() - 1
            }
            None => return,
        };
        self.all[index].traces.extend(trace);
    }

    /// Takes notice of what a failure needs.
    pub(super) fn explain(&mut self, explained: &Explained) {
        let Explained { test, number, pinned, explanation, trace, replaced: _ } = explained;
        if !self.kept.contains(&trace.path) {
            self.kept.push(trace.path.clone());
        }
        let of = |failure: &&mut Failure| {
            failure.test == test.which() && (failure.attempt, &failure.pinned) == (Some(*number), pinned)
        };
        if let Some(failure) = self.all.iter_mut().find(of) {
            failure.explanation = Some(explanation.lines().join("\n"));
            if !failure.traces.contains(&trace.path) {
                failure.traces.insert(0, trace.path.clone());
            }
        }
    }

    /// Takes notice of a test of which no attempt ended.
    pub(super) fn never_ended(&mut self, never: &NeverEnded, sources: &Sources) {
        let (what, message) = summary::never_ended(never);
        let test = never.test.which();
        let traces = self.unfinished.iter().filter(|(of, _)| *of == test).map(|(_, trace)| trace.clone());
        self.all.push(Failure {
            traces: traces.collect(),
            test,
            what,
            message,
            explanation: None,
            place: sources.of_test(&never.test),
            attempt: None,
            pinned: None,
            seed: None,
            output: String::new(),
        });
    }

    /// One for each test, in order.
    pub(super) fn all(&self) -> &[Failure] {
        &self.all
    }

    /// All traces that are kept.
    pub(super) fn traces(&self) -> impl Iterator<Item = &Path> {
        self.kept.iter().map(PathBuf::as_path)
    }
}
