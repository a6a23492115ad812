//! The system-call buffer: what it may do, and what it has logged.
//!
//! What the buffer logs in the shared area becomes part of our log when the task stops at the next event: before that replay
//! could not find the place. See [`super::call_sites`] for how the program comes to use it.

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
    /// The processes' tables of descriptors.
    tables: BTreeMap<Pid, usize>,
    /// Those that are not used any more.
    free: Vec<usize>,
    /// Processes that share their descriptors with others: nothing is known of those.
    sharing: BTreeSet<Pid>,
    /// The next call is to stop, and ends the timeslice.
    hurried: bool,
}

impl Buffer {
    /// While the program starts up, its calls are looked at. What a signal waits for is the next call that stops.
    pub(in crate::record) fn set_mode(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        scheduler: &Scheduler,
        id: TaskId,
    ) {
        let looked_at = scheduler.start_up.as_ref().is_some_and(StartUp::looks_at_all);
        let stops = self.hurried || options.calls_stop;
        let off = stops || looked_at || !tasks[id].deferred.is_empty();
        clock.area().set_mode(if off { Mode::Off } else { Mode::Record });
    }

    /// Have the running task stop at its next call, whatever that is.
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

    /// Whether it was to stop at the next call. It has come to that.
    pub(in crate::record) fn was_hurried(&mut self) -> bool {
        std::mem::take(&mut self.hurried)
    }

    /// The number of the table of descriptors of a task's process.
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

    /// A process is no more.
    pub(in crate::record) fn give_back_table(&mut self, pid: Pid) {
        self.free.extend(self.tables.remove(&pid));
        self.sharing.remove(&pid);
    }

    /// These processes share their descriptors: what one closes is closed for the other.
    pub(in crate::record) fn share_descriptors(&mut self, pids: [Pid; 2]) {
        for pid in pids {
            self.free.extend(self.tables.remove(&pid));
            self.sharing.insert(pid);
        }
    }

    /// What the buffer knows of descriptors may not hold any more: a file has been mapped.
    pub(in crate::record) fn forget_descriptors(&self, clock: &Clock) {
        for table in self.tables.values() {
            clock.area().clear_table(*table);
        }
    }
}
