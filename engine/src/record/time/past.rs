//! Translates timestamps of the machine's clock to the program's clocks.
//!
//! The program's wall clock and the machine's run alike, but for the moments at which it was set or fast-forwarded
//! ([`crate::record::wait`]), so one is a step function of the other. It takes these moments, and how far the program's
//! clock was ahead from then on. Times before the first one, including all before the recording, are the same for the
//! program.

/// Nanoseconds of CLOCK_REALTIME only: the others stamp nothing.
pub(in crate::record) type Stamp = i128;

/// The changes so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// When, by the machine's clock, and by how many ns the program's clock was ahead from then on, in order.
    changes: Vec<(Stamp, i64)>,
}

impl Past {
    /// Notes a change.
    pub(super) fn change(&mut self, now: Stamp, ahead: i64) {
        self.changes.push((now, ahead));
    }

    /// Returns when the last change was.
    pub(super) fn last_change(&self) -> Option<Stamp> {
        self.changes.last().map(|(at, _)| *at)
    }

    /// Returns how many ns the program's clock was ahead at a time of the machine's. A timestamp equal to a change's
    /// time is from before it.
    pub(super) fn ahead_at(&self, stamp: Stamp) -> i64 {
        let changes = self.changes.partition_point(|(at, _)| *at < stamp);
        changes.checked_sub(1).map_or(0, |last| self.changes[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_between_leaps_was_between_them() {
        let mut past = Past::default();
        assert_eq!((past.ahead_at(5), past.last_change()), (0, None));
        past.change(100, 1_000);
        past.change(110, 5_000);
        let ahead = [-3, 99, 100, 101, 110, 111, Stamp::MAX].map(|at| past.ahead_at(at));
        assert_eq!(ahead, [0, 0, 0, 1_000, 1_000, 5_000, 5_000]);
        assert_eq!(past.last_change(), Some(110));
    }
}
