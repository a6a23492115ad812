//! Threads: tasks, under numbers that gdb takes.

use gdbstub::common::Tid;

use crate::task::TaskId;

/// gdb's number of a task. To gdb, 0 is any thread.
pub(in crate::debug) fn tid(task: TaskId) -> Tid {
    Tid::MIN.saturating_add(task.0 as usize)
}

/// The task of gdb's number.
pub(in crate::debug) fn task(tid: Tid) -> TaskId {
    TaskId(u32::try_from(tid.get() - 1).unwrap_or(u32::MAX))
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
