//! The emulated futex queues: who waits on which word, and whom a wake wakes.
//!
//! This follows futex(2). The kernel keeps one queue of waiters per key in order of arrival; so does this, but it asks
//! whom to wake, since futex(2) promises no order. The caller compares the word, and handles timeouts and return
//! values.

use std::collections::{BTreeMap, HashMap};

use rrtest_preload::layout::{Bucket, bucket};

use crate::task::TaskId;

/// Identifies a futex: tasks that use the same key meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FutexKey {
    /// The address space, or the memory that several address spaces share.
    pub space: u32,
    /// The word's address in it.
    pub address: u64,
}

/// A bitset that every wake matches (`FUTEX_BITSET_MATCH_ANY`).
pub const ANY: u32 = u32::MAX;

/// Picks which of these waiters, given in order of arrival and not empty, is woken next. Returns an index; one that is
/// too large stands for the last.
pub type Choose<'a> = &'a mut dyn FnMut(&[TaskId]) -> usize;

/// A waiting task.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// Its number.
    pub task: TaskId,
    bitset: u32,
}

/// The queues of all futexes. A task waits in at most one.
#[derive(Debug, Default)]
pub struct FutexTable {
    /// Number of waiters on each futex, by bucket ([`bucket`]).
    buckets: HashMap<usize, Vec<(FutexKey, u32)>>,
    /// Buckets that have changed since [`Self::buckets`] was last called.
    changed: Vec<usize>,
    /// Waiters in order of arrival. No queue is empty.
    queues: BTreeMap<FutexKey, Vec<Waiter>>,
    waiting: BTreeMap<TaskId, FutexKey>,
}

impl FutexTable {
    fn count(&mut self, key: FutexKey, change: i32) {
        let number = bucket(key.address);
        // Emptied buckets are kept: tasks that wait return to them again and again.
        let keys = self.buckets.entry(number).or_default();
        match keys.iter().position(|(known, _)| *known == key) {
            Some(at) => {
                keys[at].1 = keys[at].1.saturating_add_signed(change);
                if keys[at].1 == 0 {
                    keys.swap_remove(at);
                }
            }
            None => keys.push((key, change.max(0).cast_unsigned())),
        }
        if !self.changed.contains(&number) {
            self.changed.push(number);
        }
    }

    /// Reports the buckets ([`bucket`]) that have changed since the last call. If all their waiters wait on one futex,
    /// the waiters are given in order of arrival.
    pub fn buckets(&mut self, mut tell: impl FnMut(usize, Bucket, &[Waiter])) {
        while let Some(number) = self.changed.pop() {
            let (bucket, key) = self.bucket(number);
            let queue = key.and_then(|key| self.queues.get(&key)).map_or(&[][..], Vec::as_slice);
            tell(number, bucket, queue);
        }
    }

    fn bucket(&self, number: usize) -> (Bucket, Option<FutexKey>) {
        let keys = self.buckets.get(&number).map_or(&[][..], Vec::as_slice);
        let tasks = keys.iter().map(|(_, tasks)| tasks).sum();
        let all = Bucket { tasks, ..Bucket::default() };
        let plain = |key: &FutexKey| self.queues[key].iter().all(|waiter| waiter.bitset == ANY);
        match keys {
            [(only, _)] if plain(only) => {
                (Bucket { space: only.space, address: only.address, ..all }, Some(*only))
            }
            _ => (all, None),
        }
    }

    /// Lets `task` wait on `key` for a wake whose bitset has a bit in common with `bitset` ([`ANY`] for plain
    /// `FUTEX_WAIT`). Ends its earlier wait.
    pub fn wait(&mut self, key: FutexKey, task: TaskId, bitset: u32) {
        self.remove(task);
        self.count(key, 1);
        self.queues.entry(key).or_default().push(Waiter { task, bitset });
        self.waiting.insert(task, key);
    }

    /// Wakes up to `count` of the waiters on `key` that match `bitset`, in the order in which `choose` picks them.
    ///
    /// As in the kernel, a count of 0 wakes one waiter.
    pub fn wake(&mut self, key: FutexKey, count: u32, bitset: u32, choose: Choose<'_>) -> Vec<TaskId> {
        self.take(key, count.max(1), bitset, choose)
    }

    /// Wakes up to `wake_count` waiters on `from`, and moves up to `requeue_count` of the others, in order of arrival,
    /// to `to`. Returns the woken tasks and the number of moved ones.
    ///
    /// The kernel returns the sum of both, for `FUTEX_REQUEUE` as well as for `FUTEX_CMP_REQUEUE`.
    pub fn requeue(
        &mut self,
        from: FutexKey,
        to: FutexKey,
        wake_count: u32,
        requeue_count: u32,
        choose: Choose<'_>,
    ) -> (Vec<TaskId>, usize) {
        let woken = self.take(from, wake_count, ANY, choose);
        let Some(queue) = self.queues.get_mut(&from) else { return (woken, 0) };
        let count = queue.len().min(requeue_count as usize);
        if from == to {
            return (woken, count);
        }
        let moved: Vec<Waiter> = queue.drain(..count).collect();
        if queue.is_empty() {
            self.queues.remove(&from);
        }
        for waiter in &moved {
            self.count(from, -1);
            self.count(to, 1);
            self.waiting.insert(waiter.task, to);
        }
        if !moved.is_empty() {
            self.queues.entry(to).or_default().extend(moved);
        }
        (woken, count)
    }

    /// Ends the wait of `task`, which timed out, was interrupted or killed. Returns what it waited on.
    pub fn remove(&mut self, task: TaskId) -> Option<FutexKey> {
        let key = self.waiting.remove(&task)?;
        self.count(key, -1);
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.retain(|waiter| waiter.task != task);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
        Some(key)
    }

    /// Returns what `task` waits on.
    #[must_use]
    pub fn waiting(&self, task: TaskId) -> Option<FutexKey> {
        self.waiting.get(&task).copied()
    }

    /// Iterates over all waiters and what they wait on, by key, then in order of arrival.
    pub fn waiters(&self) -> impl Iterator<Item = (FutexKey, TaskId)> + '_ {
        self.queues.iter().flat_map(|(key, queue)| queue.iter().map(|waiter| (*key, waiter.task)))
    }

    fn take(&mut self, key: FutexKey, count: u32, bitset: u32, choose: Choose<'_>) -> Vec<TaskId> {
        let mut woken = Vec::new();
        while woken.len() < count as usize {
            let Some(queue) = self.queues.get(&key) else { break };
            let matching: Vec<TaskId> =
                queue.iter().filter(|waiter| waiter.bitset & bitset != 0).map(|waiter| waiter.task).collect();
            let Some(last) = matching.len().checked_sub(1) else { break };
            let task = matching[choose(&matching).min(last)];
            self.remove(task);
            woken.push(task);
        }
        woken
    }
}

/// The effect of `FUTEX_WAKE_OP` on its second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    /// The word's new value.
    pub new: u32,
    /// Whether to wake the waiters on the second word too: the result of comparing its old value.
    pub wakes: bool,
}

impl WakeOp {
    /// Applies the operation encoded in `encoded` (the call's `val3`) to a word that holds `old`. Returns `None` for
    /// operations that futex(2) does not know (`ENOSYS`).
    #[must_use]
    pub fn apply(old: u32, encoded: u32) -> Option<Self> {
        let operand = match sign_extend_12(encoded >> 12) {
            // FUTEX_OP_ARG_SHIFT. The kernel masks the shift as well.
            shift if encoded >> 31 == 1 => 1 << (shift & 31),
            operand => operand,
        };
        let new = match encoded >> 28 & 7 {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return None,
        };
        let (left, right) = (old.cast_signed(), sign_extend_12(encoded).cast_signed());
        let wakes = match encoded >> 24 & 15 {
            0 => left == right,
            1 => left != right,
            2 => left < right,
            3 => left <= right,
            4 => left > right,
            5 => left >= right,
            _ => return None,
        };
        Some(Self { new, wakes })
    }
}

/// Sign-extends the low 12 bits of `value`.
fn sign_extend_12(value: u32) -> u32 {
    ((value << 20).cast_signed() >> 20).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: FutexKey = FutexKey { space: 0, address: 0x1000 };
    const B: FutexKey = FutexKey { space: 0, address: 0x2000 };

    fn tasks(numbers: &[u32]) -> Vec<TaskId> {
        numbers.iter().copied().map(TaskId).collect()
    }

    fn first(_: &[TaskId]) -> usize {
        0
    }

    /// A table in which tasks 1 to `count` wait on A, in this order.
    fn table(count: u32) -> FutexTable {
        let mut table = FutexTable::default();
        for task in 1..=count {
            table.wait(A, TaskId(task), ANY);
        }
        table
    }

    fn waiters(table: &FutexTable) -> Vec<(FutexKey, u32)> {
        table.waiters().map(|(key, task)| (key, task.0)).collect()
    }

    #[test]
    fn a_wake_wakes_as_many_as_asked_in_order_of_arrival() {
        let mut table = table(3);
        assert_eq!(table.wake(A, 2, ANY, &mut first), tasks(&[1, 2]));
        assert_eq!(waiters(&table), [(A, 3)]);
        assert_eq!(table.waiting(TaskId(1)), None);
        assert_eq!(table.waiting(TaskId(3)), Some(A));
        assert_eq!(table.wake(A, u32::MAX, ANY, &mut first), tasks(&[3]));
        assert_eq!(table.wake(A, 1, ANY, &mut first), []);
        assert_eq!(waiters(&table), []);
    }

    /// Returns what is reported about the bucket of A.
    fn told(table: &mut FutexTable) -> Option<Bucket> {
        let mut told = None;
        table.buckets(|number, bucket, _| told = (number == bucket_of_a()).then_some(bucket).or(told));
        told
    }

    fn bucket_of_a() -> usize {
        bucket(A.address)
    }

    #[test]
    fn a_bucket_has_an_address_where_all_wait_for_one_futex_and_for_any_wake() {
        let mut table = table(2);
        let Bucket { tasks, space, address, .. } = told(&mut table).unwrap();
        assert_eq!((tasks, space, address), (2, A.space, A.address));
        assert_eq!(told(&mut table), None, "nothing has changed");
        table.wait(A, TaskId(7), 0b10);
        assert_eq!(told(&mut table), Some(Bucket { tasks: 3, ..Bucket::default() }));
        table.remove(TaskId(7));
        table.wait(FutexKey { space: 5, ..A }, TaskId(8), ANY);
        assert_eq!(told(&mut table), Some(Bucket { tasks: 3, ..Bucket::default() }));
        table.wake(FutexKey { space: 5, ..A }, 1, ANY, &mut first);
        table.requeue(A, B, 1, 0, &mut first);
        assert_eq!(
            told(&mut table),
            Some(Bucket { tasks: 1, space: A.space, address: A.address, ..Bucket::default() })
        );
        table.wake(A, 1, ANY, &mut first);
        assert_eq!(told(&mut table), Some(Bucket::default()));
    }

    #[test]
    fn a_wake_of_none_wakes_one_as_the_kernel_does() {
        assert_eq!(table(2).wake(A, 0, ANY, &mut first), tasks(&[1]));
    }

    #[test]
    fn keys_of_other_spaces_and_addresses_do_not_meet() {
        let mut table = table(1);
        assert_eq!(table.wake(FutexKey { space: 1, ..A }, 1, ANY, &mut first), []);
        assert_eq!(table.wake(B, 1, ANY, &mut first), []);
        assert_eq!(waiters(&table), [(A, 1)]);
    }

    #[test]
    fn each_wake_chooses_among_those_still_waiting() {
        let mut table = table(4);
        let mut asked = Vec::new();
        let mut last = |waiters: &[TaskId]| {
            asked.push(waiters.to_vec());
            waiters.len() - 1
        };
        assert_eq!(table.wake(A, 2, ANY, &mut last), tasks(&[4, 3]));
        assert_eq!(asked, [tasks(&[1, 2, 3, 4]), tasks(&[1, 2, 3])]);
        assert_eq!(waiters(&table), [(A, 1), (A, 2)]);
    }

    #[test]
    fn a_choice_out_of_range_is_the_last() {
        assert_eq!(table(3).wake(A, 1, ANY, &mut |_| 7), tasks(&[3]));
    }

    #[test]
    fn a_wake_sees_only_waiters_whose_bitset_matches() {
        let mut table = FutexTable::default();
        table.wait(A, TaskId(1), 0b01);
        table.wait(A, TaskId(2), 0b10);
        table.wait(A, TaskId(3), ANY);
        assert_eq!(table.wake(A, 1, 0b100, &mut first), tasks(&[3]));
        assert_eq!(table.wake(A, 5, 0b10, &mut first), tasks(&[2]));
        assert_eq!(table.wake(A, 5, 0b10, &mut first), []);
        assert_eq!(waiters(&table), [(A, 1)]);
    }

    #[test]
    fn requeue_wakes_some_and_moves_some_behind_those_already_there() {
        let mut table = table(5);
        table.wait(B, TaskId(9), ANY);
        assert_eq!(table.requeue(A, B, 1, 2, &mut first), (tasks(&[1]), 2));
        assert_eq!(waiters(&table), [(A, 4), (A, 5), (B, 9), (B, 2), (B, 3)]);
        assert_eq!(table.waiting(TaskId(2)), Some(B));
        assert_eq!(table.wake(B, 9, ANY, &mut first), tasks(&[9, 2, 3]));
    }

    #[test]
    fn requeue_of_none_wakes_none() {
        let mut table = table(2);
        assert_eq!(table.requeue(A, B, 0, 0, &mut first), (vec![], 0));
        assert_eq!(waiters(&table), [(A, 1), (A, 2)]);
        assert_eq!(table.requeue(A, B, 0, u32::MAX, &mut first), (vec![], 2));
        assert_eq!(waiters(&table), [(B, 1), (B, 2)]);
        assert_eq!(table.requeue(A, B, 1, 1, &mut first), (vec![], 0));
    }

    #[test]
    fn requeue_onto_itself_counts_but_keeps_the_order() {
        let mut table = table(3);
        assert_eq!(table.requeue(A, A, 1, 1, &mut first), (tasks(&[1]), 1));
        assert_eq!(waiters(&table), [(A, 2), (A, 3)]);
    }

    #[test]
    fn a_requeued_waiter_keeps_its_bitset() {
        let mut table = FutexTable::default();
        table.wait(A, TaskId(1), 0b01);
        table.requeue(A, B, 0, 1, &mut first);
        assert_eq!(table.wake(B, 1, 0b10, &mut first), []);
        assert_eq!(table.wake(B, 1, 0b01, &mut first), tasks(&[1]));
    }

    #[test]
    fn a_removed_task_is_not_woken() {
        let mut table = table(3);
        assert_eq!(table.remove(TaskId(2)), Some(A));
        assert_eq!(table.remove(TaskId(2)), None);
        assert_eq!(table.wake(A, 9, ANY, &mut first), tasks(&[1, 3]));
    }

    #[test]
    fn a_task_that_waits_again_waits_once() {
        let mut table = table(2);
        table.wait(B, TaskId(1), ANY);
        assert_eq!(waiters(&table), [(A, 2), (B, 1)]);
    }

    /// `FUTEX_OP(op, oparg, cmp, cmparg)` of futex(2).
    fn encode(op: u32, oparg: u32, cmp: u32, cmparg: u32) -> u32 {
        (op & 0xf) << 28 | (cmp & 0xf) << 24 | (oparg & 0xfff) << 12 | cmparg & 0xfff
    }

    #[test]
    fn wake_op_operates() {
        let minus_one = u32::MAX;
        let shift = 8;
        for (old, op, operand, new) in [
            (6, 0, 5, 5),
            (6, 0, minus_one, minus_one),
            (6, 1, 5, 11),
            (0, 1, minus_one, minus_one),
            (0b1100, 2, 0b1010, 0b1110),
            (0b1100, 3, 0b1010, 0b0100),
            (0b1100, 4, 0b1010, 0b0110),
            (0, shift, 31, 1 << 31),
            (1, 1 | shift, 4, 17),
        ] {
            let got = WakeOp::apply(old, encode(op, operand, 0, 0)).map(|op| op.new);
            assert_eq!(got, Some(new), "operation {op} of {operand} on {old}");
        }
    }

    #[test]
    fn wake_op_compares_the_old_value_signed() {
        let minus_one = u32::MAX;
        for (old, cmp, operand, wakes) in [
            (3, 0, 3, true),
            (3, 1, 3, false),
            (minus_one, 2, 0, true),
            (3, 3, 3, true),
            (minus_one, 4, 0, false),
            (3, 4, minus_one, true),
            (3, 5, 4, false),
        ] {
            let got = WakeOp::apply(old, encode(0, 0, cmp, operand)).map(|op| op.wakes);
            assert_eq!(got, Some(wakes), "comparison {cmp} of {old} with {operand}");
        }
    }

    #[test]
    fn wake_op_refuses_what_it_does_not_know() {
        assert_eq!(WakeOp::apply(0, encode(5, 0, 0, 0)), None);
        assert_eq!(WakeOp::apply(0, encode(0, 0, 6, 0)), None);
    }
}
