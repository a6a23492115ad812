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
pub(in crate::record) struct Quiet {
    pub(in crate::record) task: Option<TaskId>,
    /// The countdown since then.
    pub(in crate::record) left: u64,
    pub(in crate::record) calls: u32,
    /// Processor time of the process at the first check.
    pub(in crate::record) since: Duration,
}

impl Quiet {
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
