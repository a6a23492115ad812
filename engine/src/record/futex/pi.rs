//! Priority-inheritance futexes (futex(2)): the word names the owner, and the kernel hands the futex over. The recorder
//! has no priorities to inherit.

use std::collections::BTreeMap;

use super::Futexes;
use crate::record::journal::Journal;
use crate::record::scheduler::Scheduler;
use crate::record::surprises::Surprises;
use crate::record::surprises::in_calls::whom;
use crate::record::tree::call::{Call, fails};
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::futex::FutexKey;
use crate::syscalls::FutexCall;
use crate::task::TaskId;
use crate::trace::event::Write;

/// Whether a call to futex(2) waits to own a futex.
pub(in crate::record) fn locks(call: &Call) -> bool {
    matches!(FutexCall::decode(&call.args()), Some(FutexCall::Lock { .. }))
}

/// The owners of the futexes that others wait for.
pub(in crate::record) type Holders = BTreeMap<FutexKey, TaskId>;

impl Futexes {
    /// `FUTEX_UNLOCK_PI`. Returns the result, and what is written.
    pub(in crate::record) fn futex_unlock(
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

    /// Hands the futexes that an ending task owns to their waiters.
    pub(in crate::record) fn pi(
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
            // The word is in memory that both share, or both have the same address space.
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

    /// Hands a futex to one of its waiters, if there are any. Returns the new owner and the new word.
    fn hand_over(
        &mut self,
        tasks: &mut Tasks,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        key: FutexKey,
    ) -> Option<(TaskId, u32)> {
        self.holders.remove(&key);
        let woken =
            self.table.wake(key, 1, u32::MAX, &mut whom(&mut *scheduler.strategy, &surprises.injector));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{call, options, tasks, tid, wait};
    use crate::schedule::futex::ANY;
    use crate::schedule::{Plan, StrategyName};

    const KEY: FutexKey = FutexKey { space: 0, address: 8 };

    #[test]
    fn a_futex_goes_to_the_longest_waiter_which_then_is_its_owner() {
        let (mut tasks, mut futexes) = (tasks(3), Futexes::default());
        let mut scheduler = Scheduler::new(&Plan::new(StrategyName::Fair, 1));
        let surprises = Surprises::new(&options());
        futexes.holders.insert(KEY, TaskId(0));
        for id in [TaskId(1), TaskId(2)] {
            wait(&mut tasks, id, call(libc::SYS_futex, [8, libc::FUTEX_LOCK_PI as u64, 0, 0, 0, 0]));
            futexes.table.wait(KEY, id, ANY);
        }
        let mut hand_over = || futexes.hand_over(&mut tasks, &mut scheduler, &surprises, KEY);
        let word = |id: u32| tid(id).as_raw() as u32;
        assert_eq!(hand_over(), Some((TaskId(1), word(1) | libc::FUTEX_WAITERS)));
        assert_eq!(hand_over(), Some((TaskId(2), word(2))), "nobody waits any more");
        assert_eq!(hand_over(), None);
        assert!(futexes.holders.is_empty() && tasks.runnable().len() == 3);
    }

    #[test]
    fn a_call_that_takes_a_lock_is_told_from_other_waits() {
        let futex = |op: i32| call(libc::SYS_futex, [8, op as u64, 0, 0, 0, 0]);
        assert!(locks(&futex(libc::FUTEX_LOCK_PI | libc::FUTEX_PRIVATE_FLAG)));
        assert!(!locks(&futex(libc::FUTEX_WAIT)));
    }
}
