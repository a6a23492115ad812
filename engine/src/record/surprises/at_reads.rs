//! Surprises that come at a read of a clock, the first ones of an attempt: the date changes before it, the wall clock
//! is set back before it, or it tells what the read before it has told.
//!
//! As long as one of them is awaited all reads of clocks stop, which they do not otherwise.

use libc::{clockid_t, timespec};

use crate::record::time::files::stamp;

/// What is to come at reads of clocks.
#[derive(Debug, Default)]
pub(in crate::record) struct AtReads {
    /// The date changes.
    pub(in crate::record) edge: Option<Edge>,
    /// The wall clock is set back.
    pub(in crate::record) step: Option<Step>,
    /// A time is told twice.
    pub(in crate::record) twice: Option<Twice>,
}

/// An end of a second, day or so, at which the wall clock comes by itself, or at a read at the latest.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Edge {
    /// When, by the program's wall clock, in ns.
    pub(in crate::record) at: i128,
    /// Reads of the wall clock up to then.
    pub(in crate::record) reads: u64,
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Step {
    /// By how many ns it is set back.
    pub(in crate::record) back: u64,
    /// Reads of the wall clock up to then.
    pub(in crate::record) reads: u64,
}

/// A time that is told twice.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Twice {
    /// Reads of clocks up to the first one.
    pub(in crate::record) reads: u64,
    /// What that has told, and of which clock.
    pub(in crate::record) told: Option<(clockid_t, timespec)>,
    /// Reads of other clocks that may come in between.
    pub(in crate::record) patience: u64,
}

impl AtReads {
    /// Whether anything is to come.
    pub(in crate::record) fn are_awaited(&self) -> bool {
        self.edge.is_some() || self.step.is_some() || self.twice.is_some()
    }

    /// Takes the edge if the wall clock, which is about to be read (`reads`) or only looked at, is to come to it now.
    pub(in crate::record) fn comes_to_edge(&mut self, now: i128, reads: bool) -> Option<Edge> {
        let edge = self.edge.as_mut()?;
        edge.reads = edge.reads.saturating_sub(reads.into());
        if edge.at <= now {
            self.edge = None;
            return None;
        }
        self.edge.take_if(|edge| edge.reads == 0)
    }

    /// Takes the step if it is due at this read of the wall clock.
    pub(in crate::record) fn steps(&mut self) -> Option<Step> {
        let step = self.step.as_mut()?;
        step.reads = step.reads.saturating_sub(1);
        self.step.take_if(|step| step.reads == 0)
    }

    /// Returns what a read of a clock tells that reads `now`, and whether it is what another read has told before. A
    /// clock that counts milliseconds would show that time has passed.
    pub(in crate::record) fn tell(&mut self, clock: clockid_t, now: timespec) -> (timespec, bool) {
        const MILLISECOND: i128 = 1_000_000;
        let stamp = |time: timespec| stamp(time.tv_sec, time.tv_nsec);
        let Some(twice) = &mut self.twice else { return (now, false) };
        match twice.told {
            Some((told, time)) if told == clock => {
                self.twice = None;
                let again = (0..MILLISECOND).contains(&(stamp(now) - stamp(time)));
                (if again { time } else { now }, again)
            }
            Some(_) => {
                twice.patience = twice.patience.saturating_sub(1);
                self.twice.take_if(|twice| twice.patience == 0);
                (now, false)
            }
            None => {
                twice.reads = twice.reads.saturating_sub(1);
                if twice.reads == 0 {
                    twice.told = Some((clock, now));
                }
                (now, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_changes_at_its_read_unless_it_has_by_itself() {
        let edge = || AtReads { edge: Some(Edge { at: 100, reads: 2 }), ..AtReads::default() };
        let mut reads = edge();
        assert!(reads.comes_to_edge(10, true).is_none() && reads.comes_to_edge(11, false).is_none());
        assert_eq!(reads.comes_to_edge(12, true).map(|edge| edge.at), Some(100));
        assert!(!reads.are_awaited());
        let mut reads = edge();
        assert!(reads.comes_to_edge(100, false).is_none() && !reads.are_awaited());
    }

    #[test]
    fn the_clock_is_set_back_at_its_read() {
        let mut reads = AtReads { step: Some(Step { back: 5, reads: 2 }), ..AtReads::default() };
        assert!(reads.steps().is_none());
        assert_eq!(reads.steps().map(|step| step.back), Some(5));
        assert!(reads.steps().is_none() && !reads.are_awaited());
    }

    #[test]
    fn a_time_is_told_twice_by_the_same_clock() {
        let time = |tv_nsec| timespec { tv_sec: 1, tv_nsec };
        let twice =
            || AtReads { twice: Some(Twice { reads: 2, told: None, patience: 2 }), ..AtReads::default() };
        let mut reads = twice();
        let mut tell = |clock, at| reads.tell(clock, time(at));
        assert_eq!(
            [tell(1, 10), tell(1, 11), tell(0, 12), tell(1, 13)],
            [(time(10), false), (time(11), false), (time(12), false), (time(11), true)]
        );
        assert_eq!(tell(1, 14), (time(14), false));
        let mut reads = twice();
        let told: Vec<_> = [1, 1, 0, 0, 1].map(|clock| reads.tell(clock, time(clock.into())).1).into();
        assert!(!told.contains(&true) && !reads.are_awaited(), "others have read meanwhile");
        let mut reads = twice();
        let told = [0, 1, 1_000_001].map(|at| reads.tell(1, time(at)).1);
        assert!(!told.contains(&true) && !reads.are_awaited(), "time has passed meanwhile");
    }
}
