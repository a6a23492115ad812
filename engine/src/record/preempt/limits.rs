//! The end of a program that runs for too long.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rrtest_preload::layout::SYS_TICK;

use super::pin::Watched;
use crate::ending::Ending;
use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt};
use crate::record::tree::tasks::Hold;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::tracee::{Registers, Running, Stop, Stopped, Wait, cpu_time};

impl Recorder<'_> {
    /// Stop if told to; else, whether the program is not to be waited for any longer.
    pub(in crate::record) fn over(&mut self) -> Result<bool, Error> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let asked = self.options.end.is_some_and(|end| end.load(Ordering::Relaxed));
        Ok(asked || self.is_overdue()?)
    }

    /// The time is over in the middle of a call that a task makes with the core held; at the last event the countdown was
    /// at `before`. For replay the program ends at that event.
    pub(in crate::record) fn ran_too_long<T>(
        &mut self,
        id: TaskId,
        running: Running,
        before: u64,
    ) -> Flow<T> {
        let (stopped, _) = self.interrupt(id, running)?;
        self.clock.put_back(before);
        // It has come to the call, which counts.
        self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        self.tasks.hold(id, Hold::Ready(stopped));
        self.hung(Some(id))
    }

    /// The time is over and a task runs user code: the program ends where it can be pinned.
    pub(super) fn ran_to_the_end<T>(&mut self, id: TaskId, running: Running) -> Flow<T> {
        let (id, watched) = self.pin(id, running)?;
        let before = self.tasks.task(id).boundary.left;
        let stopped = match watched {
            Watched::Pinned(stopped) => stopped,
            Watched::Stopped(stopped, Stop::Seccomp) => {
                self.note_stop(id, &stopped.registers()?);
                stopped
            }
            Watched::Stopped(stopped, _) => {
                self.clock.put_back(before);
                stopped
            }
        };
        self.tasks.hold(id, Hold::Ready(stopped));
        self.hung(Some(id))
    }

    /// Log that a task has come to a tick or a call.
    fn note_stop(&mut self, id: TaskId, registers: &Registers) {
        self.futexes.take_buffered(&self.clock, &mut self.journal, &mut self.scheduler);
        if registers.number() as usize == SYS_TICK {
            self.journal.note_tick(&self.tasks, &mut self.clock, id, registers);
        } else {
            self.journal.stats.syscalls += 1;
            self.clock.call(registers.number());
            self.journal.log.push(Event::Entered(self.clock.position(registers)));
        }
    }

    /// Stop a task wherever it is.
    pub(in crate::record) fn interrupt(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        running.interrupt();
        match running.wait_soon()? {
            Wait::Stopped(stopped, stop) => Ok((stopped, stop)),
            Wait::Dead(death) => self.died(id, death),
        }
    }

    /// Wait for a task's next stop, or stop it when it has had the processor for so long.
    pub(super) fn wait_or_interrupt(
        &mut self,
        id: TaskId,
        running: Running,
        time: Duration,
    ) -> Flow<(Stopped, Stop)> {
        /// A task that does not get the processor is not waited for.
        const LONGEST: Duration = Duration::from_secs(1);
        let (pid, since) = (self.tasks.task(id).pid, Instant::now());
        let start = cpu_time(pid)?;
        let (mut running, mut used) = (running, Duration::ZERO);
        while used < time && since.elapsed() < LONGEST {
            self.tasks.children.heartbeat.next(time - used);
            running = match self.wait_until(id, running, Some(Instant::now()))? {
                Ok(stop) => return Ok(stop),
                Err(running) => running,
            };
            used = cpu_time(pid)?.saturating_sub(start);
        }
        self.interrupt(id, running)
    }

    pub(in crate::record) fn hung<T>(&mut self, running: Option<TaskId>) -> Flow<T> {
        self.follow()?;
        self.futexes.take_buffered(&self.clock, &mut self.journal, &mut self.scheduler);
        let spun = self.clock.total() - self.scheduler.last_call;
        let why = self.preemption.trial.verdict();
        Err(Halt::Ending(Ending::Hung { why, tasks: self.states(running), spun }))
    }
}
