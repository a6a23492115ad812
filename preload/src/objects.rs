//! Finds the objects in memory that several tasks share, by looking at each tick of a watched task.
//!
//! A scheduler that stops tasks only where they can meet must know what other tasks access. Nothing tells it
//! beforehand, and it must not depend on what earlier runs saw: so a table of addresses fills as the program runs. What
//! a task accesses for the first time may be accessed by others later, so the first few accesses count, too.
//!
//! Busy objects come up again and again, and each stop takes long. The first accesses to an object count, and then ever
//! fewer: as many of the next 64 as of the 128 after those, and so on.

use crate::calls::KERNEL;
use crate::layout::{AccessKind, OBJECTS, Object, Watch};
use crate::random::draw;

/// The table. An object has one place where it can be.
pub type Objects = [Object; OBJECTS];

/// Accesses to an object by a single task that count.
const ALONE: u32 = 4;

/// Base-2 logarithm of the accesses to an object that count before ever fewer do.
const BUSY: u32 = 6;

/// The budget with which all accesses to shared objects count.
pub const UNLIMITED: u64 = 63;

/// The bit of [`Object::by`] for objects that have been written.
const WRITTEN: u32 = 1 << 31;

/// Hashes an address to a number 2 to the power of 6 larger than the table; the more significant bits are the place.
fn digest(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - 6 - OBJECTS.ilog2())) as usize
}

/// Returns the place of an address in the table.
#[must_use]
#[inline]
pub fn place(address: u64) -> usize {
    digest(address) / 64 % OBJECTS
}

/// Returns the bit of an address in [`Watch::pending`].
#[must_use]
pub fn mark(address: u64) -> u64 {
    1 << (digest(address) % 64)
}

/// Whether an operation can change memory.
#[must_use]
pub fn writes(kind: u64) -> bool {
    kind != AccessKind::AtomicLoad as u64 && kind != AccessKind::Load as u64
}

impl Object {
    /// Whether several tasks have touched it, and one has written it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let tasks = self.by & !WRITTEN;
        self.by & WRITTEN != 0 && tasks & tasks.wrapping_sub(1) != 0
    }
}

/// Whether access number `count` is among the first, or one of the ever fewer that are picked after them.
fn counts(count: u64, first: u32, random: u64) -> bool {
    let doublings = 64 - (count >> (first % 64)).leading_zeros();
    random & ((1_u64 << (doublings % 64)) - 1) == 0
}

impl Watch {
    fn draw(&mut self) -> u64 {
        draw(&mut self.random)
    }

    /// Looks at an access that the task is about to make at `address`. Returns whether it is to stop first. `object` is
    /// the entry of the table at that address's [`place`].
    #[inline]
    pub fn stops(&mut self, object: &mut Object, address: u64, kind: u64) -> bool {
        if address == 0 {
            return false;
        }
        let random = self.draw();
        let digest = digest(address);
        if object.address != address {
            // A shared object is not given up easily.
            if object.is_shared() && random & 7 != 0 {
                return false;
            }
            *object = Object { address, ..Object::default() };
        }
        object.touched = object.touched.saturating_add(1);
        object.by |= 1 << (self.task % 31) | if writes(kind) { WRITTEN } else { 0 };
        let pending = self.pending >> (digest % 64) & 1 != 0;
        let mut bar = self.bar;
        if object.is_shared() || pending {
            let busy = if self.budget == UNLIMITED { UNLIMITED as u32 } else { BUSY };
            // These are other bits than those that decide next.
            if !counts(object.touched.into(), busy, random)
                || !counts(self.events - self.fresh, self.budget as u32, random.rotate_right(20))
            {
                return false;
            }
        } else {
            // A program's first accesses to its files must not use up the budget for what tasks come to share.
            if address == KERNEL || object.touched > ALONE || !counts(self.fresh, self.budget as u32, random)
            {
                return false;
            }
            self.fresh += 1;
            bar >>= self.alone % 64;
        }
        self.events += 1;
        self.drawn = self.draw();
        pending || bar == u64::MAX || self.drawn < bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: u64 = AccessKind::AtomicLoad as u64;
    const STORE: u64 = AccessKind::AtomicStore as u64;

    fn table() -> Box<Objects> {
        vec![Object::default(); OBJECTS].try_into().unwrap()
    }

    /// A watch that stops at all accesses that count.
    fn watch() -> Watch {
        Watch { on: 1, random: 1, bar: u64::MAX, budget: 40, ..Watch::default() }
    }

    fn meets(watch: &mut Watch, table: &mut Objects, address: u64, kind: u64) -> bool {
        watch.stops(&mut table[place(address)], address, kind)
    }

    #[test]
    fn what_one_task_has_for_itself_soon_stops_it_no_more() {
        let (mut table, mut watch) = (table(), watch());
        let stops: Vec<bool> = (0..10).map(|_| meets(&mut watch, &mut table, 0x1000, STORE)).collect();
        assert_eq!(stops, [vec![true; 4], vec![false; 6]].concat());
        watch.task = 1;
        assert!(meets(&mut watch, &mut table, 0x1000, LOAD));
        // What all tasks only read is not shared.
        for task in 0..2 {
            watch.task = task;
            assert!((0..4).filter(|_| meets(&mut watch, &mut table, 0x2000, LOAD)).count() < 5);
        }
        assert!(!meets(&mut watch, &mut table, 0x2000, LOAD));
        assert!(!meets(&mut watch, &mut table, 0, STORE));
    }

    #[test]
    fn files_that_one_task_has_for_itself_count_for_nothing() {
        let (mut table, mut watch) = (table(), watch());
        assert_eq!((0..10).filter(|_| meets(&mut watch, &mut table, KERNEL, STORE)).count(), 0);
        assert_eq!((watch.events, watch.fresh), (0, 0));
        watch.task = 1;
        assert!(meets(&mut watch, &mut table, KERNEL, LOAD));
        assert_eq!((watch.events, watch.fresh), (1, 0));
    }

    #[test]
    fn a_busy_object_stops_ever_more_rarely() {
        let (mut table, mut watch) = (table(), watch());
        meets(&mut watch, &mut table, 0x1000, STORE);
        watch.task = 1;
        let mut stops = |times| (0..times).filter(|_| meets(&mut watch, &mut table, 0x1000, STORE)).count();
        assert_eq!(stops(60), 60);
        let later = stops(1 << 16);
        assert!((32 * 8..32 * 13).contains(&later), "{later}");
    }

    #[test]
    fn the_budget_bounds_stops_at_many_objects() {
        let (mut table, mut watch) = (table(), Watch { budget: 5, ..watch() });
        let mut stops = 0;
        for address in 1..=1000 {
            for task in 0..4 {
                watch.task = task;
                stops += u32::from(meets(&mut watch, &mut table, address * 8, STORE));
            }
        }
        // Accesses to new objects and to shared ones have separate budgets.
        assert!((100..700).contains(&stops), "{stops}");
    }

    #[test]
    fn the_bar_is_a_probability_and_others_in_front_of_the_object_lift_it() {
        let (mut table, mut watch) = (table(), watch());
        let mut stops = |bar, pending| {
            (watch.bar, watch.pending, watch.fresh) = (bar, pending, 0);
            table.fill(Object::default());
            let addresses = (1..=200).map(|address| address * 8);
            addresses.filter(|address| meets(&mut watch, &mut table, *address, STORE)).count()
        };
        assert_eq!(stops(0, 0), 0);
        let half = stops(1 << 63, 0);
        assert!((70..130).contains(&half), "{half}");
        assert!((1..20).contains(&stops(0, mark(8))));
    }

    #[test]
    fn a_shared_object_is_not_given_up_for_each_newcomer() {
        let (mut table, mut watch) = (table(), watch());
        let other = (1..).map(|n| 0x1000 + n * 8).find(|it| place(*it) == place(0x1000)).unwrap();
        for task in 0..2 {
            watch.task = task;
            meets(&mut watch, &mut table, 0x1000, STORE);
        }
        let kept = |table: &Objects| table[place(0x1000)].address == 0x1000;
        let before = (0..20).take_while(|_| {
            meets(&mut watch, &mut table, other, STORE);
            kept(&table)
        });
        assert!((1..20).contains(&before.count()));
    }
}
