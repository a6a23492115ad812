//! The end of a program that runs for too long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rrtest_preload::layout::SYS_TICK;

use super::recorder::{Flow, Halt, Recorder};
use super::tasks::Hold;
use crate::ending::Ending;
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::tracee::{Resume, Running, Stop, Stopped, Wait, Waited};

impl Recorder<'_> {
    /// Stop if told to; else, whether the time is over.
    pub(super) fn over(&self) -> Result<bool, Error> {
        if self.options.stop.load(Ordering::Relaxed) {
            Err(Error::Stopped)
        } else {
            Ok(self.end.is_some_and(|end| Instant::now() >= end))
        }
    }

    /// The time is over and a task has the core; at the last event the countdown was at `before`. `spins` if it has not
    /// come to a tick for long.
    pub(super) fn ran_too_long<T>(
        &mut self,
        id: TaskId,
        running: Running,
        before: u64,
        spins: bool,
    ) -> Flow<T> {
        let watchdog = |task: TaskId| self.options.watchdog_main && task == TaskId(0);
        if spins && self.tasks.iter().any(|t| t.hold.runnable() && !watchdog(t.id)) {
            // It may wait, in a loop, for a task that we cannot give the core to.
            self.clock.put_back(before);
            return self.unsupported(
                id,
                "a loop without ticks (nothing is compiled in there, and no system call), while others wait for the core",
            );
        }
        // Have it come to its next tick or call: replay can find that.
        let (mut stopped, mut stop) = self.interrupt(id, running)?;
        let left = self.clock.left();
        let cut = stop == Stop::Event && !spins && self.clock.cut(1);
        if cut {
            let running = stopped.resume(Resume::Freely, 0)?;
            (stopped, stop) = self.interrupt_later(id, running)?;
        }
        let registers = stopped.registers()?;
        if stop == Stop::Seccomp {
            if cut {
                self.log.push(Event::Cut(before - left + 1));
            }
            if registers.number() as usize == SYS_TICK {
                self.log.push(Event::Tick(self.clock.position(&registers)));
            } else {
                self.stats.syscalls += 1;
                self.clock.call(registers.number());
                self.log.push(Event::Entered(self.clock.position(&registers)));
            }
        } else {
            // It ends, for replay, at the last event.
            self.clock.put_back(before);
        }
        self.task(id).hold = Hold::Ready(stopped);
        self.hung(Some(id))
    }

    /// Stop a task wherever it is.
    fn interrupt(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        running.interrupt();
        match running.wait_soon()? {
            Wait::Stopped(stopped, stop) => Ok((stopped, stop)),
            Wait::Dead(death) => self.died(id, death),
        }
    }

    /// Wait for a task's next stop, or stop it after a second.
    fn interrupt_later(&mut self, id: TaskId, mut running: Running) -> Flow<(Stopped, Stop)> {
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            match running.wait()? {
                Waited::Done(Wait::Stopped(stopped, stop)) => return Ok((stopped, stop)),
                Waited::Done(Wait::Dead(death)) => return self.died(id, death),
                Waited::NotYet => {}
            }
        }
        self.interrupt(id, running)
    }

    pub(super) fn hung<T>(&mut self, running: Option<TaskId>) -> Flow<T> {
        Err(Halt::Ending(Ending::Hung(self.states(running))))
    }
}
