//! Tells the process what it needs to make calls, and to decide who runs, without a stop.

use rrtest_preload::layout::Decides;

use crate::record::in_process::hand_over::HandOver;
use crate::record::recorder::Recorder;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::Member;

impl Recorder<'_> {
    /// Tells the buffer what it needs before a task goes on.
    pub(in crate::record) fn prepare_buffer(&mut self, id: TaskId) {
        let quiet = self.tasks.none_waits_for_descriptors() && self.poller.is_empty();
        let table = self.code.buffer.table(&mut self.tasks, &self.clock, id);
        self.prepare_hand_over(id);
        let area = self.clock.area();
        area.set_quiet(quiet);
        area.set_table(table);
        self.code.buffer.set_mode(self.options, &self.tasks, &self.clock, &self.scheduler, id);
    }

    /// Tells the process what it needs to decide who runs, once this task goes on.
    pub(in crate::record) fn prepare_hand_over(&mut self, id: TaskId) {
        let turns = self
            .scheduler
            .strategy
            .turns()
            .filter(|_| self.surprises.may_decide(self.options, &self.tasks, &self.scheduler, id));
        self.code.hand_over.decides = match turns {
            None => Decides::Nothing,
            Some(_) if self.code.hand_over.is_worth_it(&self.tasks) => Decides::All,
            Some(_) => Decides::Wakes,
        };
        let task = &self.tasks[id];
        let area = self.clock.area();
        let slot = |id: TaskId| self.tasks[id].slot();
        self.futexes.table.buckets(|number, bucket, waiters| {
            area.set_bucket(number, bucket, waiters.len(), |at| slot(waiters[at].task));
        });
        area.set_running(Member {
            task: id.0,
            slot: task.slot(),
            pid: task.pid,
            tid: task.tid,
            affinity: task.affinity,
            robust_list: task.robust_list,
        });
        area.set_turns(task.space.number, self.code.hand_over.decides, turns);
        if self.code.hand_over.decides > Decides::Nothing
            && let Some(turns) = self.tasks.changed_turns()
        {
            self.clock.area().set_runnable(turns);
        }
    }
}

impl HandOver {
    /// Whether to allow hand-overs. They require waiting for all tasks at once (`waitpid(-1)`), whose cost grows with
    /// the number of tasks: with many tasks, hand-overs must be frequent to be worth it.
    pub(in crate::record) fn is_worth_it(&mut self, tasks: &Tasks) -> bool {
        /// With this few tasks it is always worth it.
        const FEW: usize = 32;
        /// One hand-over is worth this many waits for all tasks. Without any, one wait in this many is for all, to find
        /// out.
        const WORTH: u32 = 8;
        if tasks.count() <= FEW {
            return true;
        }
        self.since_handed = self.since_handed.saturating_add(1);
        self.since_handed < WORTH || self.since_handed.is_multiple_of(WORTH)
    }
}
