//! The report for GitHub Actions, beside the one for people: annotations at source lines, a summary of the step, and the step's outputs.
//!
//! | file | what it knows |
//! |---|---|
//! | [`runner`] | what the runner has told us in the environment, and the files that it reads |
//! | [`command`] | workflow commands: how they are written, and how output is kept from being taken for one |
//! | [`place`] | the source line that a failure belongs to |
//! | [`failures`] | the failures that are told, one for each test |
//! | [`markdown`] | texts from elsewhere as Markdown that means nothing else |
//! | [`step_summary`] | the summary of the step |
//!
//! All of it follows <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

pub(crate) mod command;
mod failures;
mod markdown;
mod place;
pub(crate) mod runner;
#[cfg(test)]
mod snapshots;
mod step_summary;

use std::io::Write;

use command::annotation;
use failures::{Failure, Failures};
pub(crate) use place::Sources;
use runner::Runner;

use super::tally::Tally;
use crate::attempt::events::{Reporter, RunEvent, Summary};
use crate::base::exit::CliError;

/// So many annotations of a step are shown; what is said of the rest takes the place of the last one.
const MOST_ANNOTATIONS: usize = 10;

/// Collects failures, and tells them when the run ends.
#[derive(Debug)]
pub(crate) struct GitHub {
    runner: Runner,
    sources: Sources,
    tally: Tally,
    failures: Failures,
}

impl GitHub {
    /// For this runner, and the sources of the workspace under test.
    pub(crate) fn new(runner: Runner, sources: Sources) -> Self {
        Self { runner, sources, tally: Tally::default(), failures: Failures::default() }
    }

    fn annotations(&self) -> String {
        let all = self.failures.all();
        let shown = if all.len() > MOST_ANNOTATIONS { MOST_ANNOTATIONS - 1 } else { all.len() };
        let mut text: String = all[..shown].iter().map(|failure| self.annotation(failure)).collect();
        if shown < all.len() {
            let more = format!("{} more tests failed: the summary of this step has them", all.len() - shown);
            text.push_str(&annotation(None, "cargo rrtest", &more));
        }
        text
    }

    fn annotation(&self, failure: &Failure) -> String {
        let mut message = failure.message.clone();
        if let Some(counted) = self.tally.of(&failure.test).filter(|counted| counted.attempts > 1) {
            message.push_str(&format!("\nfailed in {} of {} attempts", counted.failed, counted.attempts));
        }
        message.extend(failure.replay_command(&self.runner).map(|command| format!("\nreplay: {command}")));
        let title = format!("{} {}: {}", failure.test.binary, failure.test.title(), failure.what);
        annotation(failure.place.as_ref(), &title, &message)
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        let traces: Vec<_> = self.failures.traces().map(|path| path.display().to_string()).collect();
        let failed: Vec<_> = self.failures.all().iter().filter(|failure| !failure.is_ours()).collect();
        let seed = failed.iter().find_map(|failure| failure.seed.clone());
        vec![
            ("failed", failed.len().to_string()),
            ("traces", traces.join("\n")),
            ("seed", seed.unwrap_or_default()),
        ]
    }

    fn end(&mut self, summary: &Summary) -> Result<(), CliError> {
        summary.not_green().for_each(|never| self.failures.never_ended(never, &self.sources));
        let annotations = self.annotations();
        // Standard error, where the rest of the report is. That nobody reads it has been noticed there.
        let _written = std::io::stderr().lock().write_all(annotations.as_bytes());
        self.runner.write_outputs(&self.outputs())?;
        self.runner.append_summary(|room| {
            step_summary::markdown(summary, &self.tally, &self.failures, &self.runner, room)
        })
    }
}

impl Reporter for GitHub {
    fn report(&mut self, event: &RunEvent) -> Result<(), CliError> {
        self.tally.count(event);
        match event {
            RunEvent::Attempt(attempt) => self.failures.collect(attempt, &self.sources),
            RunEvent::Explained(explained) => self.failures.explain(explained),
            RunEvent::Summary(summary) => self.end(summary)?,
            _ => {}
        }
        Ok(())
    }
}
