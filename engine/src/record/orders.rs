//! In which orders tasks have accessed what they share.
//!
//! An *order* is that of two accesses to an object by two tasks, at certain places in the code: one writes, and the
//! other is the next that reads it or writes it. An attempt that shows an order for the first time has got somewhere
//! where no other has been, and others can start from there (Wolff et al., "Greybox Fuzzing for Concurrency Testing",
//! ASPLOS 2024). Only what tasks stop for is seen: under a guided schedule, all that counts.

use std::collections::BTreeMap;

use super::tree::tasks::Tasks;
use crate::schedule::Operation;
use crate::task::TaskId;
use crate::tracee::{Area, Memory, Registers};

/// What an attempt has shown.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// The orders, as digests, each with the number of the decision by which it has come about first.
    pub seen: BTreeMap<u64, u64>,
    /// The decisions that its strategy has made.
    pub decisions: u64,
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
        let order = digest([before, access.place, access.address]);
        self.orders.seen.entry(order).or_insert(self.orders.decisions);
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
        seen.goes_on(TaskId(5));
        assert_eq!(seen.orders.seen.len(), 4, "nothing is known of what it does");
    }
}
