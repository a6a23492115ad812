//! What is attached to a kept trace: debug information and sources, for who debugs the failure. It is added after the failure has
//! been reported, which does not wait for it.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rrtest_engine::attach::{self, Wanted};
use rrtest_engine::ending::Ending;

use super::events::Attempt;
use super::record::Setting;
use crate::base::words::{count, relative};
use crate::ending::output;
use crate::store::attached::{Attached, WithSources};
use crate::store::limit;

/// A kept trace to which files are to be attached.
#[derive(Debug)]
pub(crate) struct Pending {
    trace: PathBuf,
    /// The sources that are named.
    named: Vec<PathBuf>,
}

impl Setting<'_> {
    /// Whether files are to be attached to an attempt's trace.
    pub(crate) fn to_attach(&self, attempt: &Attempt) -> Option<Pending> {
        let Attached { debug_info, sources, root, .. } = &self.attached;
        let trace = attempt.trace.as_ref().map(|kept| kept.path.clone())?;
        let named = match sources {
            WithSources::Named => named(attempt, root),
            WithSources::All | WithSources::None => Vec::new(),
        };
        let any = *debug_info || *sources == WithSources::All || !named.is_empty();
        any.then_some(Pending { trace, named })
    }

    /// Attaches files to a trace, and those of the sources that an explanation names as people do (`explained`). Returns what
    /// the user should know if it did not work.
    pub(crate) fn attach(&self, pending: &Pending, explained: &[&str]) -> Option<String> {
        let Pending { trace, named } = pending;
        let Attached { debug_info, sources, root, one_by_one } = &self.attached;
        let all = (*sources == WithSources::All).then_some(root.as_path());
        let mut files = named.clone();
        if *sources == WithSources::Named {
            // They are named as seen from where we are.
            let here = env::current_dir().unwrap_or_else(|_| root.clone());
            let explained = explained.iter().map(PathBuf::from).collect();
            files.extend(absolute(&explained, [&here, root], root));
        }
        let wanted = Wanted { debug_info: *debug_info, all_sources_in: all, files: &files };
        let _writing = limit::writing(&self.store.dir);
        let _alone = one_by_one.lock().unwrap_or_else(PoisonError::into_inner);
        let beside = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = relative(trace).display();
        match self.engine.attach(trace, &wanted, &beside) {
            Ok(left_out) if left_out.is_empty() => None,
            Ok(left_out) => Some(format!(
                "{} could not be attached to {name} for debuggers: changed since or just before the test used it, \
                 unreadable, or too large: {}",
                count(left_out.len() as u64, "file"),
                left_out.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
            )),
            // It replays as it is.
            Err(error) => Some(format!("debug information could not be added to {name}: {error}")),
        }
    }
}

/// Returns the files of the workspace that a failure's stacks and output name.
fn named(attempt: &Attempt, root: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    if let Some(Ending::Killed { tasks, .. } | Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. }) =
        &attempt.ending
    {
        let frames = tasks.iter().flat_map(|task| task.frames.iter().chain(&task.awaits));
        found.extend(frames.filter_map(|frame| Some(PathBuf::from(&frame.location.as_ref()?.0))));
    }
    let output = output::both(&attempt.output);
    found.extend(places(&output).map(PathBuf::from));
    // The compiler names files from the workspace's root, or from the package's.
    absolute(&found, [root, &attempt.test.program.cwd], root)
}

/// Returns those of the files that are in the workspace, as seen from the first of two directories where they are.
fn absolute(files: &BTreeSet<PathBuf>, from: [&Path; 2], root: &Path) -> Vec<PathBuf> {
    let found = files.iter().filter_map(|path| from.iter().map(|it| it.join(path)).find(|it| it.is_file()));
    let absolute: BTreeSet<PathBuf> = found.filter(|path| attach::is_in(path, root)).collect();
    absolute.into_iter().collect()
}

/// Returns what is named as a file and a line in a text, such as `src/lib.rs:12:5` in a panic's message or a backtrace.
fn places(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter_map(|word| {
        let word = word.trim_matches(|c: char| "()[]{},;'`\"".contains(c)).trim_end_matches(':');
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (rest, _) = word.rsplit_once(':').filter(|(_, last)| is_number(last))?;
        Some(rest.rsplit_once(':').filter(|(_, line)| is_number(line)).map_or(rest, |(path, _)| path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_with_their_lines() {
        let text = "thread 't' (7) panicked at src/lib.rs:12:5:\nassertion\n  at /w/tests/it.rs:3 (see src/a.rs:9) 12:30 x:y";
        assert_eq!(places(text).collect::<Vec<_>>(), ["src/lib.rs", "/w/tests/it.rs", "src/a.rs", "12"]);
    }
}
