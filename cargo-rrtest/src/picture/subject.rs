//! What is known of a failure: what its trace says, and what replays of it tell.

use std::path::Path;

use rrtest_engine::Error;
use rrtest_engine::carried::Carried;
use rrtest_engine::ending::{Ending, TaskState};
use rrtest_engine::failure::{Failure, Kind};
use rrtest_engine::history::{self, At, History, How, Operation};
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Trace;

use super::stretches;
use crate::ending::explanation::{Explanation, Needs};
use crate::ending::panic::Panic;
use crate::ending::stacks::Thread;

/// A failure.
pub(crate) struct Subject<'c, 'a> {
    pub(crate) carried: &'c Carried<'a>,
    /// What the user would call the trace: its file name.
    pub(crate) name: String,
    /// Where it fails.
    pub(crate) failure: &'c Failure,
    /// How it fails, a line or more.
    pub(crate) headline: Vec<String>,
    /// The threads where they stand then, the failing one first.
    pub(crate) threads: Vec<Thread>,
    /// The course of the run.
    pub(crate) history: History,
    /// What the failure needs, if that has been found out.
    pub(crate) explanation: Option<Explanation>,
}

impl<'a> Subject<'_, 'a> {
    pub(crate) fn trace(&self) -> &'a Trace {
        self.carried.trace()
    }

    /// The panic that made it fail, as the program has printed it. Where panics cannot be found in a replay, it is the first
    /// one that a failing program has printed.
    pub(super) fn panic(&self) -> Option<Panic> {
        match self.failure.kind {
            Kind::Panic => Panic::first(self.failure.message.as_deref()?),
            Kind::Exit(code) if code != 0 && !self.failure.panics_known => Panic::of(&self.history.output),
            _ => None,
        }
    }

    /// When it fails.
    pub(super) fn failed_at(&self) -> At {
        let moment = self.failure.moment;
        let event = moment.event.checked_sub(1).and_then(|last| self.history.events.get(last as usize));
        let at = event.copied().unwrap_or(self.history.end);
        At { ticks: at.ticks.saturating_add(moment.ticks), ..at }
    }

    /// The turns whose ends are preemptions that the failure needs; none if it is not known which do.
    pub(super) fn needed(&self) -> Vec<usize> {
        let preempted = stretches::preempted(&self.history);
        let needs = self.explanation.as_ref().filter(|it| it.needs == Needs::Preemptions);
        // The smallest schedule, of which this is the recording, has no others.
        match needs {
            Some(explanation) if explanation.preemptions.after == preempted.len() as u64 => preempted,
            _ => Vec::new(),
        }
    }

    /// Looks at the operations before the failure, in another replay.
    pub(super) fn operations(&self, how: How<'_>) -> Result<Vec<Operation>, Error> {
        let needed = self.needed();
        let switches = if needed.is_empty() { stretches::preempted(&self.history) } else { needed };
        let stretches = stretches::choose(&self.history, &switches, self.failed_at().ticks);
        history::operations(self.carried, &stretches, how)
    }

    /// The states of the threads at the end, as far as the recorder has told them.
    pub(super) fn states(&self) -> &'a [TaskState] {
        match self.trace().ending() {
            Ending::Killed { tasks, .. } | Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. } => tasks,
            Ending::Exited(_) | Ending::Unsupported { .. } => &[],
        }
    }

    /// The name of a thread, with its number where others have the same name.
    pub(super) fn quoted(&self, task: TaskId) -> String {
        let threads = &self.history.threads;
        let name = threads.iter().find(|it| it.task == task).map_or("?", |it| &it.name);
        match threads.iter().filter(|it| it.name == name).count() {
            0 | 1 => format!("`{name}`"),
            _ => format!("`{name}` ({task})"),
        }
    }

    /// A source file as people name it: as seen from the directory in which the program ran, or from the one above it, which
    /// of a test is that of its package in the workspace.
    pub(super) fn file(&self, file: &str) -> String {
        let (path, cwd) = (Path::new(file), &self.trace().program().cwd);
        let above = cwd.parent().filter(|above| above.parent().is_some()).unwrap_or(cwd);
        path.strip_prefix(above).unwrap_or(path).display().to_string()
    }
}
