//! For how long tasks may compute without a tick while something waits for the core.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::task::TaskId;

/// How long a task may compute without a tick while something waits for the core: at first, and at most. The time
/// doubles with each pin, so that a task that only computes is not held up; one that goes round in a circle gets the
/// shortest.
const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(1600);
const FIRST_PATIENCE: Duration = Duration::from_millis(50);

/// What is known of tasks that compute without a tick.
#[derive(Debug, Default)]
pub(in crate::record) struct Pins {
    /// For how long each may, once one has been pinned.
    patience: BTreeMap<TaskId, Duration>,
    /// The one that does while something waits for the core, and its process's processor time when that began.
    since: Option<(At, Duration)>,
}

/// A place that a task leaves with its next tick or event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct At {
    pub(in crate::record) task: TaskId,
    /// Events in the log.
    pub(in crate::record) events: u64,
    /// Ticks that are left of the timeslice.
    pub(in crate::record) left: u64,
}

impl Pins {
    /// At this processor time a task is `at` a place and something waits for the core, if it is given. Whether it has been there for too
    /// long.
    pub(in crate::record) fn has_no_patience(&mut self, at: Option<At>, now: Duration) -> bool {
        let Some(at) = at else {
            self.since = None;
            return false;
        };
        let (_, since) =
            *self.since.insert(self.since.filter(|(known, _)| *known == at).unwrap_or((at, now)));
        now.saturating_sub(since) >= self.patience.get(&at.task).copied().unwrap_or(FIRST_PATIENCE)
    }

    /// A task has been pinned, one that goes round in a circle or is `waiting` for a signal, or one that computes.
    pub(in crate::record) fn pinned(&mut self, task: TaskId, waiting: bool) {
        let patience = self.patience.entry(task).or_insert(FIRST_PATIENCE);
        *patience = if waiting { *PATIENCE.start() } else { (*patience * 2).min(*PATIENCE.end()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_for_one_that_stays_where_it_is_while_something_waits() {
        let mut pins = Pins::default();
        let at = At { task: TaskId(1), events: 7, left: 1 };
        let other = At { left: 2, ..at };
        let mut tell = |at, ms| pins.has_no_patience(at, Duration::from_millis(ms));
        assert!(!tell(Some(at), 0) && !tell(Some(at), 49) && tell(Some(at), 50));
        assert!(!tell(Some(other), 60) && !tell(Some(at), 120) && !tell(Some(at), 169));
        assert!(!tell(None, 170) && !tell(Some(at), 171) && tell(Some(at), 221));
        pins.pinned(at.task, true);
        assert!(!pins.has_no_patience(Some(other), Duration::from_millis(300)));
        assert!(pins.has_no_patience(Some(other), Duration::from_millis(320)));
    }

    #[test]
    fn one_that_computes_is_left_alone_for_longer_each_time() {
        let mut pins = Pins::default();
        for _ in 0..10 {
            pins.pinned(TaskId(0), false);
        }
        assert_eq!(pins.patience[&TaskId(0)], *PATIENCE.end());
        pins.pinned(TaskId(0), true);
        assert_eq!(pins.patience[&TaskId(0)], *PATIENCE.start());
    }
}
