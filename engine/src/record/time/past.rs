//! When something was, by the program's clocks, that the kernel has stamped by the machine's.
//!
//! Between leaps the program's clocks and the machine's run alike, so the one is a function of the other that grows in steps: all
//! it takes are the points in time at which time has leapt ([`crate::record::wait`]), and by how much the program's clocks were ahead from
//! then on. What was before the first leap, so all that is older than the recording, was then for the program as well.

/// Nanoseconds of CLOCK_REALTIME, and of that clock alone: leaps are few, and others are at a fixed distance.
pub(super) type Stamp = i128;

/// The leaps so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// When, by the machine's clock, and by how many ns the program's were ahead from then on, in order.
    leaps: Vec<(Stamp, u64)>,
}

impl Past {
    /// Time leaps now.
    pub(super) fn leap(&mut self, now: Stamp, ahead: u64) {
        self.leaps.push((now, ahead));
    }

    /// When time has last leapt.
    pub(super) fn last_leap(&self) -> Option<Stamp> {
        self.leaps.last().map(|(at, _)| *at)
    }

    /// By how many ns the program's clocks were ahead when the machine's showed this. What is stamped at the time of a leap was
    /// there before it.
    pub(super) fn ahead_at(&self, stamp: Stamp) -> u64 {
        let leaps = self.leaps.partition_point(|(at, _)| *at < stamp);
        leaps.checked_sub(1).map_or(0, |last| self.leaps[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_leaps_was_between_them() {
        let mut past = Past::default();
        assert_eq!((past.ahead_at(5), past.last_leap()), (0, None));
        past.leap(100, 1_000);
        past.leap(110, 5_000);
        let ahead = [-3, 99, 100, 101, 110, 111, Stamp::MAX].map(|at| past.ahead_at(at));
        assert_eq!(ahead, [0, 0, 0, 1_000, 1_000, 5_000, 5_000]);
        assert_eq!(past.last_leap(), Some(110));
    }
}
