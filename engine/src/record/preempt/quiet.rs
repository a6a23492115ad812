//! Tasks that make calls without end that concern nobody else, to read a clock for instance, until another task does
//! something. No such call is a tick, and none of the others would ever have the core. So after some time without a tick
//! one of these calls ends the timeslice, if somebody waits for that. Replay finds the call as it finds any other
//! ([`Event::Entered`](crate::trace::event::Event::Entered)).

use std::time::Duration;

use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::task::TaskId;
use crate::tracee::cpu_time;

/// How often to look: after so many calls.
const CALLS: u32 = 64;

/// How long a task may be quiet, in processor time: what the recorder takes for each call does not count.
const LONGEST: Duration = Duration::from_millis(20);

/// Calls since the last tick.
#[derive(Debug, Default)]
pub(in crate::record) struct Quiet {
    task: Option<TaskId>,
    /// The countdown since then.
    left: u64,
    calls: u32,
    /// The processor time of the process at the first look.
    since: Duration,
}

impl Recorder<'_> {
    /// A task has come to a call that is no tick. Whether it has been quiet for too long.
    pub(in crate::record) fn too_quiet(&mut self, id: TaskId) -> Flow<bool> {
        let left = self.clock.left();
        if self.preemption.quiet.task != Some(id) || self.preemption.quiet.left != left {
            self.preemption.quiet = Quiet { task: Some(id), left, ..Quiet::default() };
        }
        self.preemption.quiet.calls += 1;
        if !self.preemption.quiet.calls.is_multiple_of(CALLS) {
            return Ok(false);
        }
        let Ok(now) = cpu_time(self.tasks.task(id).pid) else { return Ok(false) };
        if self.preemption.quiet.calls == CALLS {
            self.preemption.quiet.since = now;
        }
        if now.saturating_sub(self.preemption.quiet.since) < LONGEST {
            return Ok(false);
        }
        self.preemption.quiet = Quiet::default();
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        self.time.clocks.is_waited_for(self.options, &self.tasks, &self.clock, id)
    }
}
