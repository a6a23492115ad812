//! Translates timestamps of the machine's clock to the program's clocks.
//!
//! Between fast-forwards the program's clocks and the machine's run alike, so one is a step function of the other. It
//! takes the points in time at which time was fast-forwarded ([`crate::record::wait`]), and how far the program's
//! clocks were ahead from then on. Times before the first fast-forward, including all before the recording, are the
//! same for the program.

/// Nanoseconds of CLOCK_REALTIME only: fast-forwards are few, and the other clocks are at a fixed distance.
pub(super) type Stamp = i128;

/// The fast-forwards so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// When, by the machine's clock, and by how many ns the program's clocks were ahead from then on, in order.
    fast_forwards: Vec<(Stamp, u64)>,
}

impl Past {
    /// Notes a fast-forward.
    pub(super) fn fast_forward(&mut self, now: Stamp, ahead: u64) {
        self.fast_forwards.push((now, ahead));
    }

    /// Returns when time was last fast-forwarded.
    pub(super) fn last_fast_forward(&self) -> Option<Stamp> {
        self.fast_forwards.last().map(|(at, _)| *at)
    }

    /// Returns how many ns the program's clocks were ahead at a time of the machine's. A timestamp equal to a
    /// fast-forward's time is from before it.
    pub(super) fn ahead_at(&self, stamp: Stamp) -> u64 {
        let fast_forwards = self.fast_forwards.partition_point(|(at, _)| *at < stamp);
        fast_forwards.checked_sub(1).map_or(0, |last| self.fast_forwards[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_leaps_was_between_them() {
        let mut past = Past::default();
        assert_eq!((past.ahead_at(5), past.last_fast_forward()), (0, None));
        past.fast_forward(100, 1_000);
        past.fast_forward(110, 5_000);
        let ahead = [-3, 99, 100, 101, 110, 111, Stamp::MAX].map(|at| past.ahead_at(at));
        assert_eq!(ahead, [0, 0, 0, 1_000, 1_000, 5_000, 5_000]);
        assert_eq!(past.last_fast_forward(), Some(110));
    }
}
