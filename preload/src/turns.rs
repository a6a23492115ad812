//! Whose turn it is under the fair strategy: that of the task that has not run for longest, for a random time; now and
//! then any task's.
//!
//! The recorder decides by this, and so does the system-call buffer when a task hands the core over without a stop:
//! equal numbers give equal turns.

use crate::layout::Turns;
use crate::random::below;

/// The longest timeslice, in ticks: its end costs nothing, and comes soon enough for the end of a sleep to be noticed.
pub const LONG_SLICE: u64 = 10_000;

/// One turn in this many goes to any task.
const EARLY: u64 = 16;

/// Who runs next, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The index of the task among the runnable ones.
    pub index: usize,
    /// Ticks that it may run at most.
    pub slice: u64,
}

impl Turns {
    /// Counts a decision. Returns its number, which is when the running task has run last.
    #[inline]
    pub fn decision(&mut self) -> u64 {
        self.decisions += 1;
        self.decisions
    }

    /// Returns which of `count` runnable tasks has its turn. `last_ran` returns when each of them ran last.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `count` turns among tasks that ran last at these decisions.
    fn turns(ran: &[u64], count: usize) -> Vec<Turn> {
        let mut turns = Turns { random: 1, decisions: 0 };
        (0..count).map(|_| turns.next(ran.len(), |at| ran[at])).collect()
    }

    #[test]
    fn who_has_not_run_for_longest_is_next_but_now_and_then_any() {
        let turns = turns(&[7, 3, 3, 9], 4000);
        let share = |index| turns.iter().filter(|turn| turn.index == index).count();
        assert!(share(1) > 3700, "the first of those");
        assert!([0, 2, 3].map(share).iter().all(|count| (30..100).contains(count)));
        assert!(turns.iter().all(|turn| (1..=LONG_SLICE).contains(&turn.slice)));
    }

    #[test]
    fn equal_numbers_give_equal_turns() {
        assert_eq!(turns(&[1, 2], 100), turns(&[1, 2], 100));
        let mut other = Turns { random: 2, decisions: 0 };
        let others: Vec<Turn> = (0..100).map(|_| other.next(2, |at| at as u64)).collect();
        assert_ne!(turns(&[1, 2], 100), others);
    }

    #[test]
    fn decisions_are_counted() {
        let mut turns = Turns { random: 1, decisions: 4 };
        assert_eq!([turns.decision(), turns.decision()], [5, 6]);
    }
}
