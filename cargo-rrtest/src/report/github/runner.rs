//! What the runner of GitHub Actions has told us in the environment, and the files in which it reads what a step has to say.

use std::env;
use std::fs::OpenOptions;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::base::exit::CliError;

/// What the summary of a step may have at most, in bytes. If it has more, nothing of it is shown.
const MOST_SUMMARY: u64 = 1 << 20;

/// A runner that is at work on a step. Whatever it has not told is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runner {
    /// The root of the repository that is checked out.
    pub(crate) workspace: Option<PathBuf>,
    /// `owner/name`.
    pub(super) repository: Option<String>,
    /// The number of the workflow's run, which its artifacts belong to.
    pub(super) run: Option<String>,
    summary: Option<PathBuf>,
    output: Option<PathBuf>,
}

impl Runner {
    /// The one that runs us, if one does.
    pub(crate) fn of_environment() -> Option<Self> {
        Self::told(|name| env::var(name).ok())
    }

    fn told(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        (variable("GITHUB_ACTIONS").as_deref() == Some("true")).then(|| Self {
            workspace: path("GITHUB_WORKSPACE"),
            repository: variable("GITHUB_REPOSITORY"),
            run: variable("GITHUB_RUN_ID"),
            summary: path("GITHUB_STEP_SUMMARY"),
            output: path("GITHUB_OUTPUT"),
        })
    }

    /// Appends to the summary of the step what `text` makes of the bytes that there is room for.
    pub(super) fn append_summary(&self, text: impl FnOnce(usize) -> String) -> Result<(), CliError> {
        let Some(path) = &self.summary else { return Ok(()) };
        let there = path.metadata().map_or(0, |metadata| metadata.len());
        let room = usize::try_from(MOST_SUMMARY.saturating_sub(there)).unwrap_or(0);
        append(path, &text(room))
    }

    /// Sets outputs of the step.
    pub(super) fn write_outputs(&self, outputs: &[(&str, String)]) -> Result<(), CliError> {
        let Some(path) = &self.output else { return Ok(()) };
        let mut text = String::new();
        for (name, value) in outputs {
            if value.contains(['\n', '\r']) {
                // A word that no line of the value is.
                let word = format!("rrtest-{:016x}", RandomState::new().build_hasher().finish());
                text.push_str(&format!("{name}<<{word}\n{value}\n{word}\n"));
            } else {
                text.push_str(&format!("{name}={value}\n"));
            }
        }
        append(path, &text)
    }
}

fn append(path: &Path, text: &str) -> Result<(), CliError> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        CliError::os(format!("cannot write to {}, which the runner has told us to", path.display()), &error)
    })
}

/// A runner for the tests of others.
#[cfg(test)]
pub(super) fn sample() -> Runner {
    Runner { repository: Some("owner/name".into()), run: Some("42".into()), ..Runner::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_runner_is_one() {
        assert!(Runner::told(|_| None).is_none());
        assert!(Runner::told(|_| Some("false".into())).is_none());
        let runner =
            Runner::told(|name| (name == "GITHUB_ACTIONS").then(|| "true".into())).expect("a runner");
        assert!(runner.summary.is_none() && runner.workspace.is_none());
    }

    #[test]
    fn outputs_of_several_lines_have_an_end_of_their_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("output");
        let runner = Runner { output: Some(path.clone()), ..sample() };
        runner.write_outputs(&[("failed", "2".into()), ("traces", "/a\n/b".into())]).expect("written");
        let text = std::fs::read_to_string(path).expect("text");
        let (first, rest) = text.split_once("\ntraces<<").expect("two outputs");
        let (word, value) = rest.split_once('\n').expect("a word");
        assert_eq!((first, value), ("failed=2", &*format!("/a\n/b\n{word}\n")));
    }

    #[test]
    fn a_summary_is_appended_within_the_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("summary");
        std::fs::write(&path, "there\n").expect("a file");
        let runner = Runner { summary: Some(path.clone()), ..sample() };
        runner.append_summary(|room| "x".repeat(room)).expect("written");
        assert_eq!(path.metadata().expect("a file").len(), MOST_SUMMARY);
        runner.append_summary(|room| "x".repeat(room)).expect("written");
        assert_eq!(path.metadata().expect("a file").len(), MOST_SUMMARY);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let runner = Runner { output: Some("/no/such/file".into()), ..sample() };
        let stop = runner.write_outputs(&[]).expect_err("no directory");
        assert!(stop.message.expect("a message").contains("/no/such/file"));
    }
}
