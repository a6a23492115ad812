//! Tasks that endlessly make calls that are no ticks, for instance to read a clock, until another task acts. The other
//! task would never get the core. So after some time without a tick one of these calls ends the timeslice, if somebody
//! waits for the core. Replay finds the call like any other ([`Event::Entered`](crate::trace::event::Event::Entered)).

use std::time::Duration;

use crate::error::Error;
use crate::task::TaskId;

/// Calls between checks.
const CALLS: u32 = 64;

/// How long a task may be quiet, in processor time: the recorder's time for each call does not count.
const LONGEST: Duration = Duration::from_millis(20);

/// Calls since the last tick.
#[derive(Debug, Default)]
pub(in crate::record) struct Tickless {
    pub(in crate::record) task: Option<TaskId>,
    /// The countdown since then.
    pub(in crate::record) left: u64,
    pub(in crate::record) calls: u32,
    /// Processor time of the process at the first check.
    pub(in crate::record) since: Duration,
}

impl Tickless {
    /// Counts a call that is no tick; `left` is what is left of the countdown, `now` reads the processor time of the
    /// task's process. Returns whether the task has been quiet for too long.
    pub(in crate::record) fn is_too_long(
        &mut self,
        id: TaskId,
        left: u64,
        now: impl FnOnce() -> Result<Duration, Error>,
    ) -> bool {
        if self.task != Some(id) || self.left != left {
            *self = Self { task: Some(id), left, ..Self::default() };
        }
        self.calls += 1;
        if !self.calls.is_multiple_of(CALLS) {
            return false;
        }
        let Ok(now) = now() else { return false };
        if self.calls == CALLS {
            self.since = now;
        }
        let too_long = now.saturating_sub(self.since) >= LONGEST;
        if too_long {
            *self = Self::default();
        }
        too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TaskId = TaskId(1);

    /// Makes `calls` calls, with so many ticks left, at `ms` of processor time. Returns whether one was too late.
    fn calls(tickless: &mut Tickless, id: TaskId, calls: u32, left: u64, ms: u64) -> bool {
        (0..calls).any(|_| tickless.is_too_long(id, left, || Ok(Duration::from_millis(ms))))
    }

    #[test]
    fn many_calls_in_little_time_are_no_loop() {
        let mut tickless = Tickless::default();
        assert!(!calls(&mut tickless, A, 100 * CALLS, 5, 7));
    }

    #[test]
    fn a_task_that_only_asks_is_quiet_from_the_first_check_on() {
        let mut tickless = Tickless::default();
        assert!(!calls(&mut tickless, A, CALLS, 5, 1000), "what it computed before does not count");
        assert!(!calls(&mut tickless, A, CALLS, 5, 1019));
        assert!(calls(&mut tickless, A, CALLS, 5, 1020));
        assert!(!calls(&mut tickless, A, CALLS, 5, 1040), "it starts anew");
    }

    #[test]
    fn a_tick_or_another_task_ends_the_silence() {
        for (id, left) in [(A, 4), (TaskId(2), 5)] {
            let mut tickless = Tickless::default();
            assert!(!calls(&mut tickless, A, CALLS, 5, 0));
            assert!(!calls(&mut tickless, id, CALLS, left, 100));
        }
    }

    #[test]
    fn a_process_whose_time_cannot_be_read_is_left_alone() {
        let mut tickless = Tickless::default();
        let gone = || Err(Error::Gone { what: "read".into() });
        assert!(!(0..10 * CALLS).any(|_| tickless.is_too_long(A, 5, gone)));
    }
}
