//! Going on, in both directions.

use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::multithread::{
    MultiThreadRangeStepping, MultiThreadRangeSteppingOps, MultiThreadResume, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};

use super::debugger::Debugger;
use super::state::action::Action;
use super::state::breakpoints::Kind;
use super::state::threads::{task, tid};
use crate::error::Error;
use crate::task::TaskId;
use crate::timeline::{Moment, Stop};

impl Debugger<'_> {
    /// Goes on as gdb has asked. Returns what gdb is told then.
    ///
    /// # Errors
    /// If the replay diverges.
    pub(super) fn go(&mut self) -> Result<MultiThreadStopReason<u64>, Error> {
        let action = std::mem::take(&mut self.action);
        if let Some(reason) = self.go_on_in_call(&action)? {
            return Ok(reason);
        }
        let asked = self.set.asked(self.process);
        let mut stepped = self.shown();
        let (from, _) = self.timeline.position();
        let stop = match action {
            Action::Run => {
                let stop = self.timeline.run(&asked)?;
                if let Some(reason) = self.signal_ahead(from, stop)? {
                    return Ok(reason);
                }
                stop
            }
            Action::Step(task) => {
                stepped = task;
                self.timeline.step(task, &asked)?
            }
            Action::StepWithin(task, range) => {
                stepped = task;
                loop {
                    let stop = self.timeline.step(task, &asked)?;
                    let registers = self.timeline.registers(task)?;
                    let is_within = registers.is_some_and(|it| range.contains(&it.ip()));
                    if stop != Stop::Stepped || !is_within {
                        break stop;
                    }
                }
            }
            Action::RunBack => {
                let behind = self.is_behind_signal(from)?;
                let stop = self.timeline.run_back(&asked)?;
                if stop != Stop::Interrupted
                    && let Some(reason) = self.signal_behind(from, behind)?
                {
                    return Ok(reason);
                }
                stop
            }
            Action::StepBack => {
                let stop = self.timeline.step_back()?;
                stepped = self.shown();
                stop
            }
        };
        if self.tasks().is_empty() {
            return self.stay_within_lifetime();
        }
        Ok(self.reason(stop, stepped))
    }

    /// The process does not live where the move has ended: it stands at its beginning or at its end.
    fn stay_within_lifetime(&mut self) -> Result<MultiThreadStopReason<u64>, Error> {
        let (first, last) = match self.lifetime {
            Some(lifetime) => lifetime,
            None => *self.lifetime.insert(self.timeline.lifetime(self.process)?),
        };
        let (here, _) = self.timeline.position();
        let (event, stop) = if here < first { (first, Stop::Begin) } else { (last, Stop::End) };
        self.timeline.seek(Moment { event, ticks: 0, instructions: 0 })?;
        Ok(self.reason(stop, self.shown()))
    }

    fn reason(&self, stop: Stop, stepped: TaskId) -> MultiThreadStopReason<u64> {
        let with = |task, signal| MultiThreadStopReason::SignalWithThread { tid: tid(task), signal };
        let end = |pos| MultiThreadStopReason::ReplayLog { tid: Some(tid(self.shown())), pos };
        match stop {
            Stop::Stepped => with(stepped, Signal::SIGTRAP),
            Stop::Interrupted => with(self.shown(), Signal::SIGINT),
            Stop::Begin => end(ReplayLogPosition::Begin),
            Stop::End => end(ReplayLogPosition::End),
            Stop::Breakpoint(task, address) => match self.set.kind(address) {
                Some(Kind::Hardware) => MultiThreadStopReason::HwBreak(tid(task)),
                _ => MultiThreadStopReason::SwBreak(tid(task)),
            },
            Stop::Watchpoint(task, addr) => {
                MultiThreadStopReason::Watch { tid: tid(task), kind: self.set.watch_kind(addr), addr }
            }
        }
    }
}

impl MultiThreadResume for Debugger<'_> {
    fn resume(&mut self) -> Result<(), Error> {
        // It is done when the server waits for it.
        Ok(())
    }

    fn clear_resume_actions(&mut self) -> Result<(), Error> {
        self.action = Action::Run;
        Ok(())
    }

    fn set_resume_action_continue(&mut self, _: Tid, _: Option<Signal>) -> Result<(), Error> {
        // Signals come from the trace.
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_range_step(&mut self) -> Option<MultiThreadRangeSteppingOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Debugger<'_> {
    fn set_resume_action_step(&mut self, tid: Tid, _: Option<Signal>) -> Result<(), Error> {
        self.action = Action::Step(task(tid));
        Ok(())
    }
}

impl MultiThreadRangeStepping for Debugger<'_> {
    fn set_resume_action_range_step(&mut self, tid: Tid, start: u64, end: u64) -> Result<(), Error> {
        self.action = Action::StepWithin(task(tid), start..end);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Debugger<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Error> {
        // gdb wants no other thread to run. Who runs when is in the trace.
        Ok(())
    }
}

impl ReverseCont<Tid> for Debugger<'_> {
    fn reverse_cont(&mut self) -> Result<(), Error> {
        self.action = Action::RunBack;
        Ok(())
    }
}

impl ReverseStep<Tid> for Debugger<'_> {
    fn reverse_step(&mut self, _: Tid) -> Result<(), Error> {
        self.action = Action::StepBack;
        Ok(())
    }
}
