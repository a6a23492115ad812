//! The system-call buffer: what it may do, and what it knows of descriptors.
//!
//! What the buffer logs in the shared area moves to the recorder's log when the task stops at the next event: replay
//! could not find an earlier place. See [`super::call_sites`] for how calls come to be made in the buffer.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use rrtest_preload::layout::Mode;

use crate::clock::Clock;
use crate::record::options::Options;
use crate::record::scheduler::Scheduler;
use crate::record::start::start_up::StartUp;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::Area;

/// What the recorder has told the buffer.
#[derive(Debug, Default)]
pub(in crate::record) struct Buffer {
    /// Numbers of the processes' descriptor tables.
    tables: BTreeMap<Pid, usize>,
    /// Numbers of tables that are no longer used.
    free: Vec<usize>,
    /// Processes that share descriptors with others. Nothing is known about their descriptors.
    sharing: BTreeSet<Pid>,
    /// The next call is to stop, and to end the timeslice.
    hurried: bool,
    /// All calls are to stop.
    all_stop: bool,
}

impl Buffer {
    /// Switches the buffer on, or off if all calls are to stop: while the program starts up, because its calls are
    /// inspected, and if a signal waits for the next stop.
    pub(in crate::record) fn set_mode(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        scheduler: &Scheduler,
        id: TaskId,
    ) {
        let looked_at = scheduler.start_up.as_ref().is_some_and(StartUp::looks_at_all);
        let stops = self.hurried || self.all_stop || options.calls_stop;
        let off = stops || looked_at || !tasks[id].deferred.is_empty();
        clock.area().set_mode(if off { Mode::Off } else { Mode::Record });
    }

    /// Has the running task stop at its next call, whatever that is.
    pub(in crate::record) fn hurry(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        scheduler: &Scheduler,
        id: TaskId,
        hurried: bool,
    ) {
        self.hurried = hurried;
        self.set_mode(options, tasks, clock, scheduler, id);
    }

    /// Sets whether all calls are to stop from the next one on.
    pub(in crate::record) fn stop_all(&mut self, all: bool) {
        self.all_stop = all;
    }

    /// Whether the task was to stop at its next call. Clears this, as it has come to that call.
    pub(in crate::record) fn was_hurried(&mut self) -> bool {
        std::mem::take(&mut self.hurried)
    }

    /// Returns the number of the descriptor table of a task's process.
    pub(in crate::record) fn table(&mut self, tasks: &mut Tasks, clock: &Clock, id: TaskId) -> Option<usize> {
        let pid = tasks.task(id).pid;
        let buffer = self;
        if buffer.sharing.contains(&pid) {
            return None;
        }
        if let Some(table) = buffer.tables.get(&pid) {
            return Some(*table);
        }
        let table = buffer.free.pop().or(Some(buffer.tables.len())).filter(|table| *table < Area::TABLES)?;
        buffer.tables.insert(pid, table);
        clock.area().clear_table(table);
        Some(table)
    }

    /// Frees the table of a process that has ended.
    pub(in crate::record) fn give_back_table(&mut self, pid: Pid) {
        self.free.extend(self.tables.remove(&pid));
        self.sharing.remove(&pid);
    }

    /// Frees the tables of processes that share their descriptors: what one closes is closed for the other.
    pub(in crate::record) fn share_descriptors(&mut self, pids: [Pid; 2]) {
        for pid in pids {
            self.free.extend(self.tables.remove(&pid));
            self.sharing.insert(pid);
        }
    }

    /// Clears what the buffer knows of the descriptors of a process.
    pub(in crate::record) fn forget_descriptors_of(&self, clock: &Clock, pid: Pid) {
        if let Some(table) = self.tables.get(&pid) {
            clock.area().clear_table(*table);
        }
    }

    /// Clears what the buffer knows of descriptors, which may no longer hold once a file has been mapped for the first
    /// time.
    pub(in crate::record) fn forget_descriptors(&self, clock: &Clock) {
        for table in self.tables.values() {
            clock.area().clear_table(*table);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{options, task, tasks, tid};
    use crate::schedule::{Plan, StrategyName};

    const A: TaskId = TaskId(0);
    const B: TaskId = TaskId(1);

    #[test]
    fn a_process_has_one_table_until_it_ends() {
        let (mut tasks, clock, mut buffer) = (tasks(2), Clock::new().unwrap(), Buffer::default());
        let mut thread = task(&mut tasks);
        thread.pid = tid(0);
        tasks.add(thread);
        let [a, b, thread] = [A, B, TaskId(2)].map(|id| buffer.table(&mut tasks, &clock, id));
        assert!(a.is_some() && a == thread && a != b);
        buffer.give_back_table(tid(0));
        let new = task(&mut tasks);
        let id = new.id;
        tasks.add(new);
        assert_eq!(buffer.table(&mut tasks, &clock, id), a, "it is used again");
    }

    #[test]
    fn of_processes_that_share_descriptors_nothing_is_known() {
        let (mut tasks, clock, mut buffer) = (tasks(3), Clock::new().unwrap(), Buffer::default());
        let before = buffer.table(&mut tasks, &clock, A);
        buffer.share_descriptors([tid(0), tid(1)]);
        assert_eq!([A, B].map(|id| buffer.table(&mut tasks, &clock, id)), [None, None]);
        assert_eq!(buffer.table(&mut tasks, &clock, TaskId(2)), before, "that one is free");
        buffer.give_back_table(tid(0));
        assert!(buffer.table(&mut tasks, &clock, A).is_some(), "another process may get the id");
    }

    #[test]
    fn there_are_only_so_many_tables() {
        let (mut tasks, clock, mut buffer) = (tasks(1), Clock::new().unwrap(), Buffer::default());
        for number in 0..Area::TABLES {
            tasks.task(A).pid = tid(100 + number as u32);
            assert!(buffer.table(&mut tasks, &clock, A).is_some());
        }
        tasks.task(A).pid = tid(1);
        assert_eq!(buffer.table(&mut tasks, &clock, A), None);
    }

    #[test]
    fn a_hurried_task_is_so_until_its_next_call() {
        let (tasks, clock, mut buffer) = (tasks(1), Clock::new().unwrap(), Buffer::default());
        let scheduler = Scheduler::new(&Plan::new(StrategyName::Fair, 1));
        buffer.hurry(&options(), &tasks, &clock, &scheduler, A, true);
        assert!(buffer.was_hurried() && !buffer.was_hurried());
    }
}
