//! Who has the core, and for how long.

use std::time::Instant;

use rrtest_preload::layout::SYS_TICK;

use crate::error::Error;
use crate::replay::live::Held;
use crate::replay::state::At;
use crate::replay::step::{Arrival, Flow, Step};
use crate::task::TaskId;
use crate::trace::event::{Parked, Position};
use crate::tracee::{Resume, Stop, Stopped, WaitStatus};

impl Step<'_, '_> {
    /// A task gets the core.
    pub(in crate::replay) fn switch(
        &mut self,
        task: TaskId,
        slice: u64,
        preempts: bool,
    ) -> Result<(), Error> {
        if task.0 as usize >= self.state.tasks.len() || slice == 0 {
            return Err(self.misplaced("a living task and a timeslice", &format!("{task}, {slice} ticks")));
        }
        self.state.stats.preemptions += u64::from(preempts);
        self.state.current = task;
        self.state.count.start(self.live.area.countdown(), slice);
        self.live.area.set_countdown(slice);
        self.give_turn()
    }

    /// The timeslice is shortened: its end is so many ticks away.
    pub(in crate::replay) fn cut(&mut self, ticks: u64) -> Result<(), Error> {
        if !self.state.count.cut(self.live.area.countdown(), ticks) {
            return Err(self.misplaced("a shorter timeslice", &format!("{ticks} ticks")));
        }
        self.live.area.set_countdown(ticks);
        Ok(())
    }

    /// The running task's next stop must be a tick at this position.
    pub(in crate::replay) fn tick(&mut self, position: &Position) -> Flow<()> {
        let Arrival { stopped, stop, registers } = self.advance()?;
        if stop != Stop::Seccomp || registers.number() != SYS_TICK as u64 {
            return Err(self.differs("the end of the timeslice".into(), self.found(stop, &registers)).into());
        }
        self.check(position, &registers)?;
        self.ready(stopped);
        Ok(())
    }

    /// The running task, which stands at a call, waits for its turn from now on.
    pub(in crate::replay) fn park(&mut self, parked: Parked) -> Flow<()> {
        if parked.task != self.state.current {
            return Err(self.misplaced("the running task", &parked.task.to_string()).into());
        }
        let (stopped, registers) = self.reach_call()?;
        if registers.number() != libc::SYS_futex as u64 {
            let found = crate::syscalls::name(registers.number());
            return Err(self.differs("a wait for a futex".into(), found).into());
        }
        Ok(self.park_in(stopped, &registers, parked.slot)?)
    }

    /// A parked task stands at its call again.
    pub(in crate::replay) fn unpark(&mut self, id: TaskId) -> Result<(), Error> {
        let (stopped, slot) = self.stop_parked(id)?;
        self.live.area.unpark(&stopped, slot)?;
        let since = Instant::now();
        let mut running = stopped.resume(Resume::Freely, 0)?;
        let stopped = loop {
            match self.wait(&running)? {
                WaitStatus::Stopped(stopped, Stop::Seccomp) => break stopped,
                WaitStatus::Stopped(stopped, _) => {
                    // A fault comes again and again.
                    self.check_patience(since)?;
                    running = stopped.resume(Resume::Freely, 0)?;
                }
                WaitStatus::Dead(death) => {
                    return Err(self.differs("a task that comes to its call".into(), format!("{death:?}")));
                }
            }
        };
        let registers = stopped.registers()?;
        self.calling(id, stopped, registers);
        Ok(())
    }

    /// The running task is another one. If it is parked, it has its turn when it goes on.
    pub(in crate::replay) fn give_turn(&mut self) -> Result<(), Error> {
        if let At::Parked(_) = self.state.running().at {
            let (stopped, slot) = self.stop_parked(self.state.current)?;
            self.live.area.set_turn(slot);
            self.ready(stopped);
        }
        Ok(())
    }

    /// Stop a task that is parked, and the number of its slot.
    pub(in crate::replay) fn stop_parked(&mut self, id: TaskId) -> Result<(Stopped, u32), Error> {
        let at = self.state.tasks.get(id.0 as usize).map(|task| &task.at);
        let held = self.live.handles.get_mut(id.0 as usize).and_then(|handle| handle.held.take());
        let (Some(At::Parked(slot)), Some(Held::Running(running))) = (at, held) else {
            let found = at.map_or_else(|| id.to_string(), ToString::to_string);
            return Err(self.misplaced("a task that waits for its turn", &found));
        };
        let slot = *slot;
        running.interrupt();
        match self.wait(&running)? {
            // It does not wait at all.
            WaitStatus::Stopped(stopped, Stop::Seccomp) => Err(self.out_of_turn(&stopped)?),
            WaitStatus::Stopped(stopped, _) => Ok((stopped, slot)),
            WaitStatus::Dead(death) => Err(self.differs("a task that waits".into(), format!("{death:?}"))),
        }
    }
}
