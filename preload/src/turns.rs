//! Whose turn it is under the fair strategy: that of the task that has not run for longest, for a while of random length, and
//! now and then of any.
//!
//! The recorder decides by it, and so does the system-call buffer where a task hands the core over without a stop: equal
//! numbers give equal turns.

use crate::layout::Turns;
use crate::random::below;

/// The longest timeslice, in ticks: its end costs nothing, and comes soon enough for the end of a sleep to be noticed.
pub const LONG_SLICE: u64 = 10_000;

/// One turn in so many goes to any task.
const EARLY: u64 = 16;

/// Who runs next, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which of the runnable.
    pub index: usize,
    /// For how many ticks at most.
    pub slice: u64,
}

impl Turns {
    /// A decision is due. Its number is when the running task has run last.
    #[inline]
    pub fn decision(&mut self) -> u64 {
        self.decisions += 1;
        self.decisions
    }

    /// Which of `count` runnable tasks has its turn. `last_ran` tells when each of them ran last.
    #[inline]
    pub fn next(&mut self, count: usize, last_ran: impl Fn(usize) -> u64) -> Turn {
        let slice = 1 + below(&mut self.random, LONG_SLICE);
        if below(&mut self.random, EARLY) == 0 {
            return Turn { index: below(&mut self.random, count as u64) as usize, slice };
        }
        let (mut index, mut least) = (0, u64::MAX);
        let mut at = 0;
        while at < count {
            let ran = last_ran(at);
            if ran < least {
                (index, least) = (at, ran);
            }
            at += 1;
        }
        Turn { index, slice }
    }
}
