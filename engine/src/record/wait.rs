//! Waiting for what the kernel tells: of the running task, or of all if none can run.

use std::time::{Duration, Instant};

use super::recorder::Recorder;
use super::step::{Flow, Halt};
use crate::ending::Ending;
use crate::task::TaskId;
use crate::tracee::{self, Death, Resume, Running, State, Stop, Stopped, Wait, Waited, state, to_exit};

/// How often to look for signals that nobody has told of: those of timers, and of processes that are not recorded.
const LOOK: Duration = Duration::from_millis(20);

/// How long to wait at a time: short enough that a request to stop is soon noticed.
const WHILE: Duration = Duration::from_millis(20);

impl Recorder<'_> {
    /// Wait until this task stops, whatever the others that are in the kernel do meanwhile.
    pub(in crate::record) fn wait(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        let before = self.clock.left();
        match self.wait_until(id, running, None)? {
            Ok(stop) => Ok(stop),
            Err(running) => self.ran_too_long(id, running, before),
        }
    }

    /// The same up to a moment, roughly, or the time limit: then it still runs.
    pub(in crate::record) fn wait_until(
        &mut self,
        id: TaskId,
        running: Running,
        until: Option<Instant>,
    ) -> Flow<Result<(Stopped, Stop), Running>> {
        let tid = running.tid();
        loop {
            match running.wait()? {
                Waited::Done(Wait::Stopped(stopped, stop)) => return Ok(Ok((stopped, stop))),
                Waited::Done(Wait::Dead(death)) => return self.died(id, death),
                // The kernel keeps back the end of a process's first thread until all are gone.
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

    /// Nothing can run: wait for the kernel or the clock, or see that nothing will ever happen.
    pub(in crate::record) fn idle(&mut self) -> Flow<()> {
        let (since, before) = (Instant::now(), self.time.clocks.now()?);
        self.wait_a_while()?;
        self.journal.measured.waited += self.time.clocks.now()?.saturating_sub(before);
        // Whatever exceeds this is not the program's time.
        self.preemption.trial.stands_still(since.elapsed().min(WHILE + WHILE / 4));
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.over()? || self.nothing_can_happen_in_time()? { self.hung(None) } else { Ok(()) }
    }

    pub(in crate::record) fn wait_a_while(&mut self) -> Flow<()> {
        const MOMENT: Duration = Duration::from_millis(1);
        let now = self.time.clocks.now()?;
        let (earliest, alarm) = (self.tasks.deadlines.earliest(), self.time.alarms.next(now));
        let next = earliest.map(|(at, _)| at).into_iter().chain(alarm).min();
        let left = Duration::from_nanos(next.unwrap_or(u64::MAX).saturating_sub(now));
        if self.leap_if_idle(next, now)? {
            return if self.over()? { self.hung(None) } else { Ok(()) };
        }
        // It takes some time where there are many tasks.
        if left > MOMENT {
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.tasks.someone_in_kernel() && self.poller.is_empty() {
            self.tasks.children.heartbeat.next(left);
            match tracee::wait_any()? {
                Waited::Done((tid, wait)) => self.left_kernel(tid, wait)?,
                Waited::NotYet
                    if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                        && self.stuck()? =>
                {
                    return self.deadlock();
                }
                Waited::NotYet => {}
            }
        } else if self.tasks.someone_in_kernel() || !self.poller.is_empty() {
            // Nothing tells of both.
            let longest = if self.tasks.someone_in_kernel() { MOMENT } else { WHILE };
            self.poller.wait(left.min(longest));
            self.poller.poll_watches(&mut self.tasks)?;
            self.poll_kernel()?;
            if self.tasks.runnable().is_empty()
                && self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                && self.stuck()?
            {
                return self.deadlock();
            }
        } else if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now) {
            return self.deadlock();
        } else {
            std::thread::sleep(left.min(WHILE));
        }
        Ok(())
    }

    pub(in crate::record) fn deadlock(&mut self) -> Flow<()> {
        let states = self.states(None);
        Err(Halt::Ending(Ending::Deadlocked(states)))
    }

    /// Tasks whose sleep is over, or whose wait in the kernel has ended, can run again.
    pub(in crate::record) fn collect_ready(&mut self) -> Flow<()> {
        if self.tasks.deadlines.earliest().is_some() {
            let now = self.time.clocks.now()?;
            for id in self.tasks.deadlines.expired(now) {
                if !self.is_late(id, now) {
                    self.futexes.expire(&mut self.tasks, &mut self.poller, id);
                }
            }
        }
        self.time.alarms.send_alarms(
            self.options,
            &mut self.tasks,
            &mut self.futexes,
            &mut self.poller,
            &self.time.clocks,
        )?;
        if Instant::now() >= self.tasks.children.look {
            self.tasks.children.look = Instant::now() + LOOK;
            self.tasks.children.look_again = true;
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        self.poller.poll_watches(&mut self.tasks)?;
        self.poll_kernel()
    }

    /// From a call's entry to its exit.
    pub(in crate::record) fn run_to_exit(&mut self, id: TaskId, stopped: Stopped) -> Flow<(Stopped, i64)> {
        let (stopped, _) = self.run_and_follow(id, stopped)?;
        let result = stopped.registers()?.result();
        Ok((stopped, result))
    }

    /// The same, with the task that the call has made, if it has made one.
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
}
