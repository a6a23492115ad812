//! The source line that a failure belongs to, as GitHub wants it: relative to the root of the repository.

use std::path::{Path, PathBuf};

use rrtest_engine::ending::{Ending, TaskState};
use rrtest_engine::symbols::origin::interesting;

use crate::attempt::events::Attempt;
use crate::discover::test::Test;
use crate::ending::outcome::Outcome;
use crate::ending::panic::Panic;

/// A source line of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Relative to the root of the repository.
    pub(super) file: String,
    /// None if only the file is known.
    pub(super) line: Option<u32>,
}

/// Where sources are.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// The root of the repository; none if the runner has not said it.
    repository: Option<PathBuf>,
    /// The root of cargo's workspace, which the compiler is given the paths of its sources from.
    workspace: PathBuf,
}

impl Sources {
    /// Of a workspace in a repository.
    pub(crate) fn new(repository: Option<&Path>, workspace: &Path) -> Self {
        Self {
            repository: repository.and_then(|path| path.canonicalize().ok()),
            workspace: workspace.to_owned(),
        }
    }

    /// The line that an attempt's failure belongs to: where it panicked; where the program's own code was when it crashed or hung;
    /// or else where its test begins.
    pub(super) fn of(&self, attempt: &Attempt) -> Option<Place> {
        let panicked =
            || Panic::of(&attempt.output).and_then(|panic| self.place(&panic.file, Some(panic.line)));
        let ended = || attempt.ending.as_ref().and_then(|ending| self.of_tasks(tasks(ending)));
        let failed = if attempt.outcome == Outcome::Failed { panicked() } else { ended() };
        failed.or_else(|| self.of_test(&attempt.test))
    }

    /// The first line that is in the repository of those where tasks are.
    fn of_tasks(&self, tasks: &[TaskState]) -> Option<Place> {
        let places = tasks.iter().filter_map(|task| interesting(&task.frames)?.location.as_ref());
        places.into_iter().find_map(|(file, line)| self.place(file, Some(*line)))
    }

    /// Where a test begins, if the root source file of its binary has it; else that file.
    pub(super) fn of_test(&self, test: &Test) -> Option<Place> {
        let place = self.place(test.source.to_str().filter(|path| !path.is_empty())?, None)?;
        let name = test.name.as_deref().and_then(|name| name.rsplit("::").next());
        let source = std::fs::read_to_string(&test.source).ok();
        let line = name.zip(source).and_then(|(name, source)| line_of_function(&source, name));
        Some(Place { line, ..place })
    }

    fn place(&self, file: &str, line: Option<u32>) -> Option<Place> {
        // What does not exist is no source: a path may come from a program's output.
        let path = self.workspace.join(file).canonicalize().ok().filter(|path| path.is_file())?;
        let file = path.strip_prefix(self.repository.as_ref()?).ok()?.to_str()?.to_owned();
        Some(Place { file, line })
    }
}

fn tasks(ending: &Ending) -> &[TaskState] {
    match ending {
        Ending::Killed { tasks, .. } | Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. } => tasks,
        Ending::Exited(_) | Ending::Unsupported { .. } => &[],
    }
}

/// The line on which a function of this name is defined, if there is only one.
fn line_of_function(source: &str, name: &str) -> Option<u32> {
    let defines = |line: &str| {
        let after = line.trim_start().split_once("fn ").filter(|(before, _)| {
            before.split_whitespace().all(|word| ["pub", "async", "unsafe", "const"].contains(&word))
        });
        let rest = after.and_then(|(_, after)| after.trim_start().strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<', ' ']))
    };
    let mut lines = (1..).zip(source.lines()).filter(|(_, line)| defines(line)).map(|(number, _)| number);
    let first = lines.next();
    first.filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use rrtest_engine::trace::event::Stream;

    use super::*;
    use crate::attempt::events::samples::{attempt, written};
    use crate::discover::test;

    const SOURCE: &str =
        "#[test]\nfn other() {}\n\n#[test]\n    pub async fn t() { fn inner() {} }\n// fn t is tested\n";

    #[test]
    fn functions_are_found_where_they_are_defined() {
        assert_eq!(line_of_function(SOURCE, "t"), Some(5));
        assert_eq!(line_of_function(SOURCE, "othe"), None);
        assert_eq!(line_of_function(&SOURCE.repeat(2), "t"), None);
    }

    /// The place of a failure with this output, in a repository in which the workspace is a folder.
    fn place(stderr: &str) -> Option<Place> {
        let dir = tempfile::tempdir().expect("a directory");
        let workspace = dir.path().join("repo/ws");
        fs::create_dir_all(workspace.join("tests")).expect("directories");
        let source = workspace.join("tests/it.rs");
        fs::write(&source, SOURCE).expect("a file");
        fs::write(dir.path().join("outside.rs"), "").expect("a file");
        let sources = Sources::new(Some(&dir.path().join("repo")), &workspace);
        let test = Arc::new(Test { source: source.into(), ..test::sample() });
        sources.of(&Attempt { test, output: written(&[(Stream::Stderr, stderr)]), ..attempt() })
    }

    #[test]
    fn a_panic_in_the_repository_is_the_place() {
        let at = |line| Some(Place { file: "ws/tests/it.rs".into(), line: Some(line) });
        assert_eq!(place("thread 't' panicked at tests/it.rs:2:5:\nno\n"), at(2));
        // Elsewhere, or nowhere: then it is the test.
        for file in ["src/gone.rs", "../../outside.rs", "/rustc/0/library/core/src/option.rs", "tests"] {
            assert_eq!(place(&format!("thread 't' panicked at {file}:2:5:\nno\n")), at(5), "{file}");
        }
        assert_eq!(place(""), at(5));
    }
}
