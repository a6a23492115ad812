//! In which orders tasks have accessed what they share.
//!
//! An *order* is that of two accesses to an object by two tasks, at certain places in the code: one writes, and the
//! other is the next that reads it or writes it. An attempt that shows an order for the first time has got somewhere
//! where no other has been, and others can start from there (Wolff et al., "Greybox Fuzzing for Concurrency Testing",
//! ASPLOS 2024). Only what tasks stop for is seen: under a guided schedule, all that counts.
//!
//! A *pair* is of two such accesses that two tasks are both about to make: the schedule decides which is first, so that
//! both orders can come about (they are "co-enabled": Flanagan & Godefroid, "Dynamic Partial-Order Reduction for Model
//! Checking Software", POPL 2005). Which of them have come about tells how far the schedules of a program have been
//! covered.

use std::collections::BTreeMap;

use super::tree::tasks::Tasks;
use crate::schedule::Operation;
use crate::task::TaskId;
use crate::tracee::{Area, Memory, PAGE, Registers};

/// What an attempt has shown.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// The orders, as digests, each with the number of the decision by which it has come about first.
    pub seen: BTreeMap<u64, u64>,
    /// The pairs, as digests, each with the orders in which it has come.
    pub pairs: BTreeMap<u64, PairOrders>,
    /// The decisions that its strategy has made.
    pub decisions: u64,
}

/// The orders in which the accesses of a pair have been made, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairOrders {
    /// The one with the smaller digest was first.
    Smaller,
    /// The one with the larger digest was first.
    Larger,
    /// Each of them was first once.
    Both,
}

impl PairOrders {
    /// Adds the orders that were seen elsewhere.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }
}

/// What is known of them while the attempt is recorded.
#[derive(Debug, Default)]
pub(super) struct OrdersSeen {
    /// The next access of each task.
    next: BTreeMap<TaskId, Access>,
    /// The last that has written, by address.
    written: BTreeMap<u64, Access>,
    pub(super) orders: Orders,
}

/// An access to memory.
#[derive(Clone, Copy, Debug)]
struct Access {
    address: u64,
    writes: bool,
    /// Its place in the code, and the task.
    place: u64,
}

impl Access {
    fn conflicts_with(&self, other: &Self) -> bool {
        self.address == other.address && (self.writes || other.writes)
    }
}

/// The golden ratio in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl OrdersSeen {
    /// Notes that `current` has come to an operation, if it is known, and that `task` does now what it has come to.
    pub(super) fn next_is(
        &mut self,
        tasks: &Tasks,
        current: Option<TaskId>,
        operation: Option<Operation>,
        task: TaskId,
    ) {
        self.orders.decisions += 1;
        if let Some(current) = current {
            match operation {
                Some(Operation::Memory { address, writes }) => {
                    if let Some(registers) = tasks[current].registers() {
                        let place = place(&tasks[current].space.memory, &registers, current);
                        self.next.insert(current, Access { address, writes, place });
                    }
                }
                _ => {
                    self.next.remove(&current);
                }
            }
        }
        self.goes_on(task);
    }

    /// Notes that a task does what it has come to.
    fn goes_on(&mut self, task: TaskId) {
        let Some(access) = self.next.remove(&task) else { return };
        let before = self.written.get(&access.address).map_or(0, |written| written.place);
        // Where pages lie differs from attempt to attempt; where in its page an object lies hardly does.
        let order = digest([before, access.place, access.address % PAGE]);
        self.orders.seen.entry(order).or_insert(self.orders.decisions);
        for other in self.next.values().filter(|other| other.conflicts_with(&access)) {
            let (smaller, larger) = (access.place.min(other.place), access.place.max(other.place));
            let first = if access.place == smaller { PairOrders::Smaller } else { PairOrders::Larger };
            let pair = self.orders.pairs.entry(digest([smaller, larger, 0])).or_insert(first);
            *pair = pair.and(first);
        }
        if access.writes {
            self.written.insert(access.address, access);
        }
    }
}

/// Returns a digest of a task and the place in the code from which its tick has come.
///
/// In code that is not optimised many places share the function that ticks, and its callers: several return addresses
/// tell them apart. They are the words on the stack that are near the first one. What else looks like that is, if not
/// the same, as seldom as what it belongs to.
fn place(memory: &Memory, registers: &Registers, task: TaskId) -> u64 {
    /// Bytes of the stack that are looked at, and return addresses that count.
    const STACK: usize = 512;
    const CALLERS: usize = 4;
    /// How far apart the code of a program is at most, mostly.
    const NEAR: u64 = 1 << 24;
    let stack = memory.available(registers.sp(), STACK);
    let (words, _) = stack.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    // A tick that was compiled in is in a function of its own, which keeps nothing on the stack.
    let near = match Area::stub_at(registers.ip()) {
        Some(_) => return digest([registers.ip(), 0, task.0.into()]),
        None => words.clone().next().unwrap_or(0),
    };
    let callers = words.filter(|word| word.abs_diff(near) < NEAR).take(CALLERS);
    callers.fold(u64::from(task.0), |place, caller| digest([place, caller, 0]))
}

fn digest(words: [u64; 3]) -> u64 {
    words.into_iter().fold(0, |digest, word| (digest ^ word).wrapping_mul(MULTIPLIER).rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_of_the_last_write_and_what_comes_after_it() {
        let mut seen = OrdersSeen::default();
        let mut does = |task: u32, place, address, writes| {
            seen.next.insert(TaskId(task), Access { address, writes, place });
            seen.goes_on(TaskId(task));
            seen.orders.seen.len()
        };
        assert_eq!(does(0, 1, 8, false), 1, "it reads what was there");
        assert_eq!(does(0, 1, 8, false), 1, "again");
        assert_eq!(does(1, 2, 8, true), 2);
        assert_eq!(does(0, 1, 8, false), 3, "now it reads what the other has written");
        assert_eq!(does(0, 1, 16, false), 4, "another object");
        assert_eq!(does(0, 1, 16 + PAGE, false), 4, "the same one, in another page");
        seen.goes_on(TaskId(5));
        assert_eq!(seen.orders.seen.len(), 4, "nothing is known of what it does");
    }

    #[test]
    fn a_pair_is_of_two_conflicting_accesses_that_are_due_at_once() {
        let pairs = |first: u32, accesses: [(u64, u64, bool); 2]| {
            let mut seen = OrdersSeen::default();
            for (task, (place, address, writes)) in (0..).zip(accesses) {
                seen.next.insert(TaskId(task), Access { address, writes, place });
            }
            seen.goes_on(TaskId(first));
            seen.goes_on(TaskId(1 - first));
            seen.orders.pairs.into_values().collect::<Vec<_>>()
        };
        assert_eq!(pairs(0, [(1, 8, true), (2, 8, false)]), [PairOrders::Smaller]);
        assert_eq!(pairs(1, [(1, 8, true), (2, 8, false)]), [PairOrders::Larger]);
        assert_eq!(pairs(0, [(1, 8, false), (2, 8, false)]), [], "both read");
        assert_eq!(pairs(0, [(1, 8, true), (2, 16, true)]), [], "each has its own");
        assert_eq!(PairOrders::Smaller.and(PairOrders::Smaller), PairOrders::Smaller);
        assert_eq!(PairOrders::Smaller.and(PairOrders::Larger), PairOrders::Both);
        assert_eq!(PairOrders::Both.and(PairOrders::Larger), PairOrders::Both);
    }
}
