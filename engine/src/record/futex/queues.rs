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
        let woken =
            self.table.wake(key, count, bitset, &mut whom(&mut *scheduler.strategy, &surprises.injector));
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::record::kernel::fds::Fds;
    use crate::record::testing::{call, options, tasks, wait};
    use crate::record::tree::task::Hold;
    use crate::schedule::futex::ANY;
    use crate::schedule::{Plan, StrategyName};
    use crate::tracee::{Stdin, Streams};

    const KEY: FutexKey = FutexKey { space: 0, address: 8 };

    /// Tasks 1 to `count` wait for a futex, in this order.
    fn waiting(count: u32) -> (Tasks, Futexes, Scheduler, Surprises) {
        let (mut tasks, mut futexes) = (tasks(count + 1), Futexes::default());
        for id in (1..=count).map(TaskId) {
            wait(&mut tasks, id, call(libc::SYS_futex, [8, 0, 0, 0, 0, 0]));
            futexes.table.wait(KEY, id, ANY);
        }
        let scheduler = Scheduler::new(&Plan::new(StrategyName::Fair, 1));
        (tasks, futexes, scheduler, Surprises::new(&options()))
    }

    #[test]
    fn a_wake_lets_the_longest_waiters_go_on() {
        let (mut tasks, mut futexes, mut scheduler, surprises) = waiting(3);
        let woken = futexes.wake(&mut tasks, &mut scheduler, &surprises, KEY, 2, ANY);
        assert_eq!((woken, tasks.runnable()), (2, &[TaskId(0), TaskId(1), TaskId(2)][..]));
        assert!(matches!(tasks[TaskId(1)].hold(), Hold::Woken(_, _, 0)) && tasks.woken);
        assert_eq!(futexes.table.waiting(TaskId(3)), Some(KEY));
    }

    #[test]
    fn a_wake_of_nobody_wakes_nobody() {
        let (mut tasks, mut futexes, mut scheduler, surprises) = waiting(1);
        let other = FutexKey { address: 16, ..KEY };
        assert_eq!(futexes.wake(&mut tasks, &mut scheduler, &surprises, other, 1, ANY), 0);
        assert!(!tasks.woken);
    }

    #[test]
    fn a_limit_ends_a_wait_with_an_error_and_a_sleep_without() {
        let (mut tasks, mut futexes, ..) = waiting(1);
        let mut poller = Poller::new(Rc::new(Fds::new(Streams::new(Stdin::Null).unwrap()).unwrap()));
        wait(&mut tasks, TaskId(0), call(libc::SYS_nanosleep, [0; 6]));
        for id in [TaskId(0), TaskId(1)] {
            futexes.expire(&mut tasks, &mut poller, id);
        }
        let result = |id| match tasks[id].hold() {
            Hold::Woken(_, _, result) => *result,
            other => panic!("{other:?}"),
        };
        assert_eq!([TaskId(0), TaskId(1)].map(result), [0, fails(libc::ETIMEDOUT)]);
        assert_eq!(futexes.table.waiting(TaskId(1)), None);
    }

    #[test]
    fn a_private_futex_belongs_to_its_address_space() {
        let (tasks, mut futexes, ..) = waiting(1);
        let mut key = |id, private| futexes.futex_key(&tasks, TaskId(id), 8, private);
        assert_eq!((key(0, true), key(0, false)), (KEY, KEY), "nothing is shared");
        assert_eq!(key(1, true), FutexKey { space: 1, ..KEY });
    }
}
