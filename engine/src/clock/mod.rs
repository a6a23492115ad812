//! Where in a task's execution are we: the clock that record and replay share.
//!
//! A position is a number of ticks since the task got the core. Ticks are counted by code compiled into the program
//! (see [`rrtest_preload`]), and by system calls that other tasks can see. A program without compiled-in ticks has only
//! the latter.

use std::rc::Rc;

use rrtest_preload::layout::Watch;

use crate::Error;
use crate::syscalls;
use crate::trace::event::Position;
use crate::tracee::{Area, Registers};

/// How many ticks tasks have made, apart from the countdown in which they are counted: what is left of that is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The countdown at the start of the timeslice.
    slice: u64,
    /// By how much it was cut.
    cut: u64,
    /// Ticks of the timeslices before.
    earlier: u64,
}

impl Count {
    /// A timeslice of so many ticks starts.
    pub fn start(&mut self, left: u64, slice: u64) {
        *self = Self { slice, cut: 0, earlier: self.total(left) };
    }

    /// Ticks since the timeslice began.
    #[must_use]
    pub fn ran(&self, left: u64) -> u64 {
        self.slice - left.min(self.slice)
    }

    /// Ticks of all tasks so far.
    #[must_use]
    pub fn total(&self, left: u64) -> u64 {
        self.earlier.saturating_add(self.ran(left))
    }

    /// The task has come to a system call. What is left then.
    #[must_use]
    pub fn call(left: u64, number: u64) -> u64 {
        left.saturating_sub(syscalls::ticks(number).into())
    }

    /// The timeslice ends after `ticks` more, as if it had been that much shorter from its start. False if less is
    /// left anyway, or `ticks` is 0.
    pub fn cut(&mut self, left: u64, ticks: u64) -> bool {
        let Some(less) = left.checked_sub(ticks).filter(|_| ticks > 0) else { return false };
        self.slice = self.slice.saturating_sub(less);
        self.cut = less;
        true
    }

    /// A timeslice was over when the countdown was at `left`, and the task went on with what was left, as a new one.
    /// The ticks that it had run.
    fn went_on(&mut self, left: u64) -> u64 {
        let ran = self.slice.saturating_sub(left);
        self.earlier = self.earlier.saturating_add(ran);
        self.slice -= ran;
        ran
    }

    /// A task handed the core over when the countdown was at `left`, and the other got a timeslice of `slice` ticks.
    /// The ticks that the first had run.
    pub fn handed_over(&mut self, left: u64, slice: u64) -> u64 {
        let ran = self.went_on(left);
        (self.slice, self.cut) = (slice, 0);
        ran
    }
}

/// The clock of a process tree, of which one task runs at a time.
///
/// The program counts down in the shared [`Area`]; a timeslice is over when nothing is left. The clock may be read or
/// set only while no task runs.
///
/// A clone continues from the same moment, in the same area: only one of them can be in use.
#[derive(Clone, Debug)]
pub struct Clock {
    area: Rc<Area>,
    count: Count,
    /// Whether the task is watched tick by tick. Then what is left is stored elsewhere.
    watching: bool,
}

impl Clock {
    /// Creates a clock at zero, and its area.
    ///
    /// # Errors
    /// If the kernel has no memory for the area.
    pub fn new() -> Result<Self, Error> {
        Ok(Self { area: Rc::new(Area::new()?), count: Count::default(), watching: false })
    }

    /// Returns the area, which the driven process must have mapped.
    #[must_use]
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// Starts a timeslice of `slice` ticks.
    pub fn start(&mut self, slice: u64) {
        self.count.start(self.left(), slice);
        self.watching = false;
        self.area.watch(None);
        self.area.set_countdown(slice);
    }

    /// Looks at each tick of the timeslice from now on. If the task must stop before its end, [`Self::cut_short`] says
    /// so.
    pub fn watch(&mut self, watch: &Watch) {
        let left = self.left();
        self.watching = true;
        self.area.watch(Some(watch));
        self.set_left(left);
        self.area.set_countdown(1);
    }

    /// Whether ticks are looked at.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watching
    }

    /// Returns to just counting down. Returns false, and does nothing, if the task is just about to be looked at.
    pub fn unwatch(&mut self) -> bool {
        if self.watching {
            if self.area.countdown() == 0 {
                return false;
            }
            let left = self.left();
            self.watching = false;
            self.area.watch(None);
            self.set_left(left);
        }
        true
    }

    /// Ends the timeslice at the tick at which the task has stopped. Returns whether any of it was left.
    pub fn cut_short(&mut self) -> bool {
        let left = self.left();
        self.count.slice -= left.min(self.count.slice);
        self.set_left(0);
        left > 0
    }

    fn set_left(&self, left: u64) {
        if self.watching {
            self.area.set_left(left);
        } else {
            self.area.set_countdown(left);
        }
    }

    /// Ends a timeslice at countdown `left`; the task went on with what was left, as a new one. Returns the ticks that
    /// it had run.
    pub fn went_on(&mut self, left: u64) -> u64 {
        self.count.went_on(left)
    }

    /// Notes that a task handed the core over at countdown `left`, and that the other task got a timeslice of `slice`
    /// ticks, which the process has begun. Returns the ticks that the first task had run.
    pub fn handed_over(&mut self, left: u64, slice: u64) -> u64 {
        self.count.handed_over(left, slice)
    }

    /// Returns the ticks that are left of the timeslice.
    #[must_use]
    pub fn left(&self) -> u64 {
        if self.watching { self.area.left() } else { self.area.countdown() }
    }

    /// Returns the ticks since the timeslice began.
    #[must_use]
    pub fn ran(&self) -> u64 {
        self.count.ran(self.left())
    }

    /// Returns the ticks of all tasks so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.count.total(self.left())
    }

    /// Counts a system call that the running task has reached. Returns whether this ends the timeslice.
    pub fn call(&mut self, number: u64) -> bool {
        let left = Count::call(self.left(), number);
        self.set_left(left);
        syscalls::ticks(number) && left == 0
    }

    /// Makes the timeslice end after `ticks` more, as if it had been that much shorter from its start. Returns false if
    /// less is left anyway, or `ticks` is 0.
    pub fn cut(&mut self, ticks: u64) -> bool {
        let cut = self.count.cut(self.left(), ticks);
        if cut {
            self.set_left(ticks);
        }
        cut
    }

    /// Undoes ticks, and a cut: sets the countdown back to an earlier value.
    pub fn put_back(&mut self, left: u64) {
        self.count.slice = self.count.slice.saturating_add(std::mem::take(&mut self.count.cut));
        self.set_left(left);
    }

    /// Returns the position of a task with these registers.
    #[must_use]
    pub fn position(&self, registers: &Registers) -> Position {
        Position::of(self.left(), registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_timeslice_can_end_early_and_replays_by_counting() {
        let (mut recorded, mut replayed) = (Clock::new().unwrap(), Clock::new().unwrap());
        recorded.start(10);
        recorded.watch(&Watch { on: 1, ..Watch::default() });
        assert!(!recorded.call(libc::SYS_write as u64));
        assert_eq!((recorded.left(), recorded.ran(), recorded.area().countdown()), (9, 1, 1));
        // Two ticks later it has found something.
        recorded.area().set_left(7);
        assert!(recorded.cut_short());
        assert_eq!((recorded.left(), recorded.ran()), (0, 3));
        replayed.start(10);
        replayed.call(libc::SYS_write as u64);
        assert!(replayed.cut(2));
        assert_eq!(replayed.area().countdown(), 2);
        replayed.area().set_countdown(0);
        assert_eq!(replayed.total(), recorded.total());
        recorded.start(5);
        assert_eq!((recorded.left(), recorded.area().countdown()), (5, 5));
        assert!(recorded.unwatch());
        recorded.area().set_countdown(0);
        assert!(!recorded.cut_short());
    }

    #[test]
    fn timeslices_that_no_program_uses_up_do_not_overflow() {
        let mut count = Count::default();
        for _ in 0..3 {
            count.start(0, u64::MAX);
        }
        assert_eq!(count.total(0), u64::MAX);
        assert_eq!(count.handed_over(0, 1), u64::MAX);
        assert_eq!(count.total(0), u64::MAX);
    }

    #[test]
    fn watching_can_end_but_not_in_the_middle_of_a_look() {
        let mut clock = Clock::new().unwrap();
        clock.start(10);
        clock.watch(&Watch { on: 1, ..Watch::default() });
        clock.area().set_left(6);
        clock.area().set_countdown(0);
        assert!(!clock.unwatch());
        clock.area().set_countdown(1);
        assert!(clock.unwatch());
        assert_eq!((clock.left(), clock.area().countdown()), (6, 6));
    }

    #[test]
    fn ticks_add_up_over_timeslices_and_cuts() {
        let mut clock = Clock::new().unwrap();
        clock.start(10);
        assert!(!clock.call(libc::SYS_write as u64));
        assert_eq!((clock.left(), clock.ran(), clock.total()), (9, 1, 1));
        // A call that concerns only the task itself is no tick.
        assert!(!clock.call(libc::SYS_gettid as u64));
        assert_eq!(clock.left(), 9);
        assert!(clock.cut(1));
        clock.put_back(9);
        assert_eq!((clock.left(), clock.total()), (9, 1));
        assert!(clock.cut(1));
        assert!(!clock.cut(2));
        assert!(clock.call(libc::SYS_write as u64));
        assert_eq!(clock.total(), 2);
        clock.start(5);
        assert_eq!((clock.left(), clock.ran(), clock.total()), (5, 0, 2));
        clock.area().set_countdown(2);
        assert_eq!(clock.went_on(4), 1);
        assert_eq!((clock.left(), clock.ran(), clock.total()), (2, 2, 5));
    }
}
