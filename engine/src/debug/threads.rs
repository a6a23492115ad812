//! Threads: tasks, under numbers that gdb takes.

use gdbstub::common::Tid;
use gdbstub::target::ext::thread_extra_info::ThreadExtraInfo;

use super::debugger::{Debugger, part};
use crate::error::Error;
use crate::task::TaskId;

/// gdb's number of a task. To gdb, 0 is any thread.
pub(super) fn tid(task: TaskId) -> Tid {
    Tid::MIN.saturating_add(task.0 as usize)
}

pub(super) fn task(tid: Tid) -> TaskId {
    TaskId(u32::try_from(tid.get() - 1).unwrap_or(u32::MAX))
}

impl ThreadExtraInfo for Debugger<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Error> {
        let task = task(tid);
        let state = self.timeline.session().state();
        let name = state.tasks().find(|(id, _)| *id == task).map_or("", |(_, name)| name);
        let runs = if task == self.timeline.current() { ", runs" } else { "" };
        Ok(part(format!("{name}{runs}").as_bytes(), 0, usize::MAX, buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_task_is_any_thread() {
        assert_eq!(tid(TaskId(0)).get(), 1);
        assert_eq!(task(tid(TaskId(41))), TaskId(41));
        assert_eq!(task(Tid::MAX), TaskId(u32::MAX));
    }
}
