//! Wakes and timeouts.

use super::Futexes;
use crate::record::poller::Poller;
use crate::record::scheduler::Scheduler;
use crate::record::surprises::Surprises;
use crate::record::surprises::in_calls::whom;
use crate::record::tree::call::{Stage, fails};
use crate::record::tree::tasks::Tasks;
use crate::schedule::futex::FutexKey;
use crate::task::TaskId;

impl Futexes {
    /// Wakes waiters. Returns their number.
    pub(in crate::record) fn wake(
        &mut self,
        tasks: &mut Tasks,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        key: FutexKey,
        count: u32,
        bitset: u32,
    ) -> i64 {
        let woken = self.table.wake(key, count, bitset, &mut whom(&mut *scheduler.strategy, &surprises.dice));
        let number = woken.len() as i64;
        tasks.end_waits(woken);
        number
    }

    /// Ends a task's sleep or wait, as its time is over.
    pub(in crate::record) fn expire(&mut self, tasks: &mut Tasks, poller: &mut Poller, id: TaskId) {
        if poller.stop_watching(tasks, id, Stage::TimedOut) {
            return;
        }
        let result = if self.table.remove(id).is_some() { fails(libc::ETIMEDOUT) } else { 0 };
        tasks.end_wait(id, result);
    }
}

impl Tasks {
    pub(in crate::record) fn end_waits(&mut self, woken: Vec<TaskId>) {
        for id in woken {
            self.end_wait(id, 0);
        }
    }
}
