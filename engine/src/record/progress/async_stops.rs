//! How long tasks may compute without a tick while something waits for the core.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::task::TaskId;

/// How long a task may compute without a tick while something waits for the core: shortest, longest and first value.
/// The time doubles with each asynchronous stop, so that a task that only computes is not held up; a task that loops
/// gets the shortest time.
const PATIENCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_millis(1600);
const FIRST_PATIENCE: Duration = Duration::from_millis(50);

/// State of tasks that compute without a tick.
#[derive(Debug, Default)]
pub(in crate::record) struct AsyncStops {
    /// How long each may compute, once it has been stopped asynchronously.
    patience: BTreeMap<TaskId, Duration>,
    /// The task that does while something waits for the core, and its process's processor time when that began.
    since: Option<(At, Duration)>,
}

/// A place that a task leaves with its next tick or event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) struct At {
    pub(in crate::record) task: TaskId,
    /// Number of events in the log.
    pub(in crate::record) events: u64,
    /// Ticks left of the timeslice.
    pub(in crate::record) left: u64,
}

impl AsyncStops {
    /// Whether a task has been `at` a place for too long while something waits for the core. `at` is `None` if nothing
    /// waits; `now` is the processor time of the task's process.
    pub(in crate::record) fn has_no_patience(&mut self, at: Option<At>, now: Duration) -> bool {
        let Some(at) = at else {
            self.since = None;
            return false;
        };
        let (_, since) =
            *self.since.insert(self.since.filter(|(known, _)| *known == at).unwrap_or((at, now)));
        now.saturating_sub(since) >= self.patience.get(&at.task).copied().unwrap_or(FIRST_PATIENCE)
    }

    /// Notes that a task has been stopped asynchronously. `waiting` says that it loops or waits for a signal, rather
    /// than computes.
    pub(in crate::record) fn async_stopped(&mut self, task: TaskId, waiting: bool) {
        let patience = self.patience.entry(task).or_insert(FIRST_PATIENCE);
        *patience = if waiting { *PATIENCE.start() } else { (*patience * 2).min(*PATIENCE.end()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_for_one_that_stays_where_it_is_while_something_waits() {
        let mut async_stops = AsyncStops::default();
        let at = At { task: TaskId(1), events: 7, left: 1 };
        let other = At { left: 2, ..at };
        let mut tell = |at, ms| async_stops.has_no_patience(at, Duration::from_millis(ms));
        assert!(!tell(Some(at), 0) && !tell(Some(at), 49) && tell(Some(at), 50));
        assert!(!tell(Some(other), 60) && !tell(Some(at), 120) && !tell(Some(at), 169));
        assert!(!tell(None, 170) && !tell(Some(at), 171) && tell(Some(at), 221));
        async_stops.async_stopped(at.task, true);
        assert!(!async_stops.has_no_patience(Some(other), Duration::from_millis(300)));
        assert!(async_stops.has_no_patience(Some(other), Duration::from_millis(320)));
    }

    #[test]
    fn one_that_computes_is_left_alone_for_longer_each_time() {
        let mut async_stops = AsyncStops::default();
        for _ in 0..10 {
            async_stops.async_stopped(TaskId(0), false);
        }
        assert_eq!(async_stops.patience[&TaskId(0)], *PATIENCE.end());
        async_stops.async_stopped(TaskId(0), true);
        assert_eq!(async_stops.patience[&TaskId(0)], *PATIENCE.start());
    }
}
