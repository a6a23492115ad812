//! Futexes whose holders inherit their waiters' priorities (futex(2), "Priority-inheritance futexes"): the word says who
//! holds it, and the kernel hands it over. There are no priorities here to inherit.

use std::collections::BTreeMap;

use nix::unistd::Pid;

use super::Futexes;
use crate::record::journal::Journal;
use crate::record::recorder::Recorder;
use crate::record::scheduler::Scheduler;
use crate::record::step::{Flow, Next};
use crate::record::surprises::Surprises;
use crate::record::surprises::in_calls::whom;
use crate::record::tree::call::{Call, Outcome, fails};
use crate::record::tree::tasks::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::schedule::futex::FutexKey;
use crate::syscalls::{FutexCall, FutexTimeout};
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::tracee::Stopped;

/// Whether a call to futex(2) waits for a word to hold.
pub(in crate::record) fn locks(call: &Call) -> bool {
    matches!(FutexCall::decode(&call.args()), Some(FutexCall::Lock { .. }))
}

/// Who holds the futexes that others wait for.
pub(in crate::record) type Holders = BTreeMap<FutexKey, TaskId>;

impl Recorder<'_> {
    /// `FUTEX_LOCK_PI`, `FUTEX_TRYLOCK_PI`.
    pub(super) fn futex_lock(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        timeout: FutexTimeout,
        waits: bool,
    ) -> Flow<Next> {
        let (address, tid) = (call.args()[0], self.tasks.task(id).tid.as_raw() as u32);
        let Ok(word) = self.tasks.space(id).memory.u32(address) else {
            return self.journal.skip(
                &mut self.tasks,
                &self.clock,
                id,
                stopped,
                &call,
                Outcome::fails(libc::EFAULT),
            );
        };
        let holder = word & libc::FUTEX_TID_MASK;
        if holder == 0 {
            let new = word & libc::FUTEX_OWNER_DIED | tid;
            let (result, writes) = self.tasks.written(id, address, new.to_ne_bytes().to_vec());
            return self.journal.skip(
                &mut self.tasks,
                &self.clock,
                id,
                stopped,
                &call,
                Outcome::new(result, writes),
            );
        }
        let found = self.tasks.with_tid(Pid::from_raw(holder.cast_signed()));
        let error = match found {
            _ if holder == tid => Some(libc::EDEADLK),
            None => Some(libc::ESRCH),
            Some(_) if !waits => Some(libc::EAGAIN),
            Some(_) => None,
        };
        let (Some(holder), None) = (found.map(|task| task.id), error) else {
            return self.journal.skip(
                &mut self.tasks,
                &self.clock,
                id,
                stopped,
                &call,
                Outcome::fails(error.unwrap_or(libc::ESRCH)),
            );
        };
        if let Err(errno) = self.set_deadline(id, &mut call, timeout)? {
            return self.journal.skip(
                &mut self.tasks,
                &self.clock,
                id,
                stopped,
                &call,
                Outcome::fails(errno),
            );
        }
        let key = self.futexes.futex_key(
            &self.tasks,
            id,
            address,
            call.args()[1] & libc::FUTEX_PRIVATE_FLAG as u64 != 0,
        );
        if word & libc::FUTEX_WAITERS == 0 {
            let new = (word | libc::FUTEX_WAITERS).to_ne_bytes().to_vec();
            let writes = self.tasks.written(id, address, new).1;
            // Others can see it as soon as the task waits.
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
            self.journal.log_written(id, writes);
        }
        self.futexes.holders.insert(key, holder);
        self.futexes.table.wait(key, id, u32::MAX);
        self.tasks.hold(id, Hold::Waiting(stopped, call));
        Ok(Next::Decide(Why::Blocked, None))
    }
}

impl Futexes {
    /// `FUTEX_UNLOCK_PI`: the result and what is written.
    pub(super) fn futex_unlock(
        &mut self,
        tasks: &mut Tasks,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        id: TaskId,
        address: u64,
        private: bool,
    ) -> (i64, Vec<Write>) {
        let tid = tasks.task(id).tid.as_raw() as u32;
        let Ok(word) = tasks.space(id).memory.u32(address) else { return (fails(libc::EFAULT), Vec::new()) };
        if word & libc::FUTEX_TID_MASK != tid {
            return (fails(libc::EPERM), Vec::new());
        }
        let key = self.futex_key(tasks, id, address, private);
        let new = self.hand_over(tasks, scheduler, surprises, key).map_or(0, |(_, word)| word);
        tasks.written(id, address, new.to_ne_bytes().to_vec())
    }

    /// A task ends: what it holds and others wait for goes to one of these.
    pub(in crate::record) fn inherit(
        &mut self,
        tasks: &mut Tasks,
        journal: &mut Journal,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        id: TaskId,
        writes: &mut Vec<Write>,
    ) {
        let held: Vec<FutexKey> =
            self.holders.iter().filter(|(_, holder)| **holder == id).map(|(key, _)| *key).collect();
        for key in held {
            let Some((heir, word)) = self.hand_over(tasks, scheduler, surprises, key) else { continue };
            let address = match tasks[heir].hold() {
                Hold::Woken(_, call, _) => call.args()[0],
                _ => continue,
            };
            // Shared memory has the same bytes for both; else both have the same address space.
            let new = (word | libc::FUTEX_OWNER_DIED).to_ne_bytes().to_vec();
            let same = tasks.space(heir).number == tasks.space(id).number;
            let written = tasks.written(heir, address, new).1;
            if same {
                writes.extend(written);
            } else {
                journal.elsewhere.push((heir, written));
            }
        }
    }

    /// Give a futex to one of its waiters, if there are any: to whom, and the word that says so.
    fn hand_over(
        &mut self,
        tasks: &mut Tasks,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        key: FutexKey,
    ) -> Option<(TaskId, u32)> {
        self.holders.remove(&key);
        let woken = self.table.wake(key, 1, u32::MAX, &mut whom(&mut *scheduler.strategy, &surprises.dice));
        let heir = *woken.first()?;
        let more = self.table.waiters().any(|(other, _)| other == key);
        if more {
            self.holders.insert(key, heir);
        }
        tasks.end_wait(heir, 0);
        let waiters = if more { libc::FUTEX_WAITERS } else { 0 };
        Some((heir, tasks.task(heir).tid.as_raw() as u32 | waiters))
    }
}
