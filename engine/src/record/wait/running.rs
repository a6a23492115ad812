//! Waits for stops of the running task.

use std::time::{Duration, Instant};

use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::task::Hold;
use crate::task::TaskId;
use crate::tracee::{
    Death, Resume, Running, State, Stop, Stopped, WaitStatus, Waited, cpu_time, state, to_exit,
};

impl Recorder<'_> {
    /// Waits until this task stops. Handles tasks in the kernel meanwhile.
    pub(in crate::record) fn wait(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        let before = self.clock.left();
        match self.wait_until(id, running, None)? {
            Ok(stop) => Ok(stop),
            Err(running) => self.ran_too_long(id, running, before),
        }
    }

    /// Waits until this task stops, or until about `until` or the time limit. Returns the task if it still runs.
    pub(in crate::record) fn wait_until(
        &mut self,
        id: TaskId,
        running: Running,
        until: Option<Instant>,
    ) -> Flow<Result<(Stopped, Stop), Running>> {
        let tid = running.tid();
        loop {
            match running.wait()? {
                Waited::Done(WaitStatus::Stopped(stopped, stop)) => return Ok(Ok((stopped, stop))),
                Waited::Done(WaitStatus::Dead(death)) => return self.died(id, death),
                // The kernel reports the end of a process's first thread only when all others are gone.
                Waited::NotYet if state(tid) == State::Dead => {
                    return self.died(id, Death::Killed(libc::SIGKILL));
                }
                Waited::NotYet if self.over()? || until.is_some_and(|until| Instant::now() >= until) => {
                    return Ok(Err(running));
                }
                Waited::NotYet => {
                    self.poller.poll_watches(&mut self.tasks)?;
                    self.poll_kernel()?;
                }
            }
        }
    }

    /// Runs a task from a call's entry to its exit. Returns the result.
    pub(in crate::record) fn run_to_exit(&mut self, id: TaskId, stopped: Stopped) -> Flow<(Stopped, i64)> {
        let (stopped, _) = self.run_and_follow(id, stopped)?;
        let result = stopped.registers()?.result();
        Ok((stopped, result))
    }

    /// Runs a task from a call's entry to its exit. Returns the task that the call has created, if it has.
    pub(in crate::record) fn run_and_follow(
        &mut self,
        id: TaskId,
        stopped: Stopped,
    ) -> Flow<(Stopped, Option<Running>)> {
        to_exit(stopped, |stopped| {
            let running = stopped.resume(Resume::ToSyscallExit, 0)?;
            self.wait(id, running)
        })
    }

    /// Ends a program whose time is over in the middle of a call that a task makes while it has the core. At the last
    /// event the countdown was at `before`. For replay the program ends at that event.
    pub(in crate::record) fn ran_too_long<T>(
        &mut self,
        id: TaskId,
        running: Running,
        before: u64,
    ) -> Flow<T> {
        let (stopped, _) = self.interrupt(id, running)?;
        self.clock.put_back(before);
        // It has reached the call, which counts as a tick.
        self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        self.tasks.hold(id, Hold::Ready(stopped));
        self.hung(Some(id))
    }

    /// Stops a task wherever it is.
    pub(in crate::record) fn interrupt(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        running.interrupt();
        match running.wait_soon()? {
            WaitStatus::Stopped(stopped, stop) => Ok((stopped, stop)),
            WaitStatus::Dead(death) => self.died(id, death),
        }
    }

    /// Waits for a task's next stop, or stops it after `time` of processor time.
    pub(in crate::record) fn wait_or_interrupt(
        &mut self,
        id: TaskId,
        running: Running,
        time: Duration,
    ) -> Flow<(Stopped, Stop)> {
        /// Longest wait for a task that does not get the processor.
        const LONGEST: Duration = Duration::from_secs(1);
        let (pid, since) = (self.tasks.task(id).pid, Instant::now());
        let start = cpu_time(pid)?;
        let (mut running, mut used) = (running, Duration::ZERO);
        while used < time && since.elapsed() < LONGEST {
            self.tasks.children.wake_up_timer.next(time - used);
            running = match self.wait_until(id, running, Some(Instant::now()))? {
                Ok(stop) => return Ok(stop),
                Err(running) => running,
            };
            used = cpu_time(pid)?.saturating_sub(start);
        }
        self.interrupt(id, running)
    }

    /// Has the kernel make another call in place of this one, and waits for its end.
    pub(in crate::record) fn make_other(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        number: i64,
        args: [u64; 6],
    ) -> Flow<(Stopped, i64)> {
        let mut registers = call.registers;
        registers.set_number(number as u64);
        registers.set_args(args);
        stopped.set_registers(&registers)?;
        self.run_to_exit(id, stopped)
    }
}
