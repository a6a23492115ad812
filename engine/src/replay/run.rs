//! Letting the running task go on until it comes to an event.

use std::sync::atomic::Ordering;
use std::time::Instant;

use rrtest_preload::layout::{SYS_HELLO, SYS_TICK};

use super::live::Held;
use super::state::At;
use super::step::{Arrival, Flow, Step};
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{
    DebugRegisters, Registers, Resume, Running, Stop, Stopped, WaitStatus, Waited, is_fault, to_exit,
    wait_in_group,
};

impl Step<'_, '_> {
    /// Have the running task go on until it stops for what an event tells of. What is to be stopped for may come
    /// first; then it can go on from there.
    pub(super) fn advance(&mut self) -> Flow<Arrival> {
        if !self.stops.are_none() {
            return self.advance_watched(None);
        }
        self.live.area.set_log_end(self.state.log.len);
        let mut stopped = self.take_ready()?;
        self.live.handle(self.state.current).watch(&stopped, &DebugRegisters::default())?;
        loop {
            let stop;
            (stopped, stop) = self.resume(stopped, Resume::Freely)?;
            let registers = stopped.registers()?;
            if !self.is_passed(&stopped, stop, registers)? {
                return self.arrived(stopped, stop, registers);
            }
        }
    }

    /// Whether a stop is one that no event tells of: the task goes on.
    pub(super) fn is_passed(
        &self,
        stopped: &Stopped,
        stop: Stop,
        mut registers: Registers,
    ) -> Result<bool, Error> {
        let says_hello = stop == Stop::Seccomp && registers.number() as usize == SYS_HELLO;
        if says_hello {
            registers.set_number(u64::MAX);
            registers.set_result(1);
            stopped.set_registers(&registers)?;
        }
        Ok(says_hello || stop == Stop::Event)
    }

    /// The running task has stopped. If that is for a call, the buffer has nothing left in its log.
    pub(super) fn arrived(&mut self, stopped: Stopped, stop: Stop, registers: Registers) -> Flow<Arrival> {
        if stop == Stop::Seccomp && registers.number() as usize != SYS_TICK && !self.log_is_taken() {
            return Err(self.unlogged(&registers).into());
        }
        Ok(Arrival { stopped, stop, registers })
    }

    /// Bring the running task to its next system call, or find it there.
    pub(super) fn reach_call(&mut self) -> Flow<(Stopped, Registers)> {
        if let At::Calling(_) = self.state.running().at {
            return Ok(self.take_calling(self.state.current)?);
        }
        let Arrival { stopped, stop, registers } = self.advance()?;
        if stop != Stop::Seccomp || registers.number() as usize == SYS_TICK {
            return Err(self.differs("a system call".into(), self.found(stop, &registers)).into());
        }
        self.count_call(registers.number());
        self.state.stats.syscalls += 1;
        Ok((stopped, registers))
    }

    /// The running task has come to a call with a stop.
    pub(super) fn count_call(&self, number: u64) {
        let area = &self.live.area;
        area.set_countdown(crate::clock::Count::call(area.countdown(), number));
    }

    /// Resume a task and wait for its next stop. It gets no signals, but for what its own instructions raise.
    pub(super) fn resume(&mut self, mut stopped: Stopped, how: Resume) -> Result<(Stopped, Stop), Error> {
        loop {
            let running = stopped.resume(how, 0)?;
            let stop;
            (stopped, stop) = match self.wait_for_running(running)? {
                WaitStatus::Stopped(stopped, stop) => (stopped, stop),
                WaitStatus::Dead(death) => {
                    return Err(self.differs("a task that goes on".into(), format!("{death:?}")));
                }
            };
            if !matches!(stop, Stop::Signal(_)) || is_fault(&stopped.signal_info()?) {
                return Ok((stopped, stop));
            }
        }
    }

    /// The call at whose entry the running task stands is made by the kernel: the task at its exit, and the result.
    pub(super) fn run_to_exit(&mut self, stopped: Stopped) -> Result<(Stopped, i64), Error> {
        let (stopped, _) = to_exit(stopped, |stopped| self.resume(stopped, Resume::ToSyscallExit))?;
        let result = stopped.registers()?.result();
        Ok((stopped, result))
    }

    pub(super) fn wait(&self, running: &Running) -> Result<WaitStatus, Error> {
        let since = Instant::now();
        loop {
            match running.wait()? {
                Waited::Done(wait) => return Ok(wait),
                Waited::NotYet => self.check_patience(since)?,
            }
        }
    }

    /// Nothing has happened `since` then: whether to go on waiting.
    pub(super) fn check_patience(&self, since: Instant) -> Result<(), Error> {
        if self.control.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        if since.elapsed() > self.control.patience {
            let found = format!("none within {:?}", self.control.patience);
            return Err(self.differs("a next event".into(), found));
        }
        Ok(())
    }

    /// Wait until the running task stops or dies, or the one that has got the core by then.
    fn wait_for_running(&mut self, running: Running) -> Result<WaitStatus, Error> {
        let Some(group) = self.live.kill_on_drop.group().filter(|_| !self.state.log.hand_overs.is_empty())
        else {
            return self.wait(&running);
        };
        let since = Instant::now();
        loop {
            let (tid, wait) = match wait_in_group(group)? {
                Waited::Done(done) => done,
                Waited::NotYet => {
                    self.check_patience(since)?;
                    continue;
                }
            };
            self.follow()?;
            match wait {
                wait if tid == self.live.handle(self.state.current).tid => return Ok(wait),
                // It has not got the core, and makes a call.
                WaitStatus::Stopped(stopped, Stop::Seccomp) => return Err(self.out_of_turn(&stopped)?),
                // A signal from outside, which is nothing to a replay; or a fault, which comes again and again.
                WaitStatus::Stopped(stopped, _) => {
                    self.check_patience(since)?;
                    stopped.resume(Resume::Freely, 0)?;
                }
                WaitStatus::Dead(_) => {}
            }
        }
    }

    /// A task that waits for its turn has made a call.
    pub(super) fn out_of_turn(&self, stopped: &Stopped) -> Result<Error, Error> {
        let registers = stopped.registers()?;
        let found = format!("{} of thread {}", self.found(Stop::Seccomp, &registers), stopped.tid());
        Ok(self.differs("tasks that wait for their turn".into(), found))
    }

    /// Take note of those hand-overs that have been done.
    fn follow(&mut self) -> Result<(), Error> {
        let done = self.live.area.cursor();
        while self.state.log.hand_overs.front().is_some_and(|(end, _)| *end <= done)
            && let Some((_, handed)) = self.state.log.hand_overs.pop_front()
        {
            let from = self.state.current;
            self.waits_for_turn(from, handed.from.into());
            let running = Running::known_to_run(self.live.handle(from).tid);
            self.live.handle(from).held = Some(Held::Running(running));
            self.state.count.handed_over(handed.left.into(), handed.slice);
            self.state.current = TaskId(handed.task);
            match self.state.running().at {
                At::Parked(slot) if slot == u32::from(handed.to) => {}
                ref other => {
                    let expected = format!("a task that waits in slot {}", handed.to);
                    return Err(self.misplaced(&expected, &other.to_string()));
                }
            }
            self.state.running_mut().at = At::Ready;
            self.live.handle(self.state.current).held = None;
        }
        Ok(())
    }

    /// A task waits for its turn in this slot from now on.
    pub(super) fn waits_for_turn(&mut self, id: TaskId, slot: u32) {
        let task = &mut self.state.tasks[id.0 as usize];
        (task.at, task.slot) = (At::Parked(slot), Some(slot));
    }
}
