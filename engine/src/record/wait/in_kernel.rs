//! Tasks that wait in the kernel: who has come back from it.

use std::time::{Duration, Instant};

use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::call::{Call, Waited};
use crate::record::tree::tasks::{Hold, Tasks};
use crate::task::TaskId;
use crate::tracee::{Resume, Running, State, Stop, Wait, Waited as Polled, cpu_time, state};

/// Where a task in the kernel has got to.
pub(in crate::record) enum Reached {
    /// It has stopped, or ended.
    Stop(Wait),
    /// It is asleep.
    Sleep,
    /// Neither, for long: it computes, or does not get the core.
    Nothing,
}

impl Recorder<'_> {
    /// See who has come back from the kernel.
    pub(in crate::record) fn poll_kernel(&mut self) -> Flow<()> {
        for id in self.tasks.in_kernel().clone() {
            if let Hold::InKernel(running, _) | Hold::Suspended(running, _) = self.tasks[id].hold()
                && let Polled::Done(wait) = running.poll()?
            {
                let tid = running.tid();
                self.left_kernel(tid, wait)?;
            }
        }
        Ok(())
    }

    /// A call may have woken tasks that wait in the kernel. Let them come to their stops now: if it were left to chance when
    /// we hear of them, equal schedules would not stay equal.
    pub(in crate::record) fn settle(&mut self) -> Flow<()> {
        if !std::mem::take(&mut self.journal.unsettled) {
            return Ok(());
        }
        self.poller.poll_watches(&mut self.tasks)?;
        // Those that a signal has stopped.
        self.poll_kernel()?;
        for id in self.tasks.in_kernel().clone() {
            while let Hold::InKernel(running, _) = self.tasks[id].hold()
                && let Reached::Stop(wait) = self.tasks.follow_into_kernel(id, running)?
            {
                let tid = running.tid();
                self.left_kernel(tid, wait)?;
            }
        }
        Ok(())
    }

    /// A task that waited in the kernel has stopped.
    pub(in crate::record) fn left_kernel(&mut self, tid: nix::unistd::Pid, wait: Wait) -> Flow<()> {
        let Some(id) = self.tasks.with_tid(tid).map(|task| task.id) else {
            // The kernel may show a new task's first stop before its parent's.
            self.tasks.children.newborn.push((tid, wait));
            return Ok(());
        };
        let Wait::Stopped(stopped, stop) = wait else {
            return self.died_in_kernel(id);
        };
        if self.tasks[id].hold().parked() {
            self.tasks.children.early.push((tid, Wait::Stopped(stopped, stop)));
            return Ok(());
        }
        let call = match self.tasks.release(id) {
            Hold::InKernel(_, call) => call,
            Hold::Suspended(_, call) => return self.tasks.left_stop(id, stopped, stop, call),
            _ => return Err(crate::record::step::unexpected("follow a task")),
        };
        let hold = if stop == Stop::SyscallExit && call.wait == Waited::Inside {
            self.tasks.woken = true;
            Hold::Returned(stopped, call)
        } else if stop == Stop::SyscallExit {
            self.tasks.woken = true;
            // What has become ready may be gone when the task has the core: it looks again.
            let wait = if stopped.registers()?.result() == 0 { Waited::TimedOut } else { Waited::No };
            Hold::Again(stopped, Call { wait, ..call })
        } else {
            // It gets its signals behind the call only.
            Hold::InKernel(stopped.resume(Resume::ToSyscallExit, 0)?, call)
        };
        self.tasks.hold(id, hold);
        Ok(())
    }
}

impl Tasks {
    /// Wait until a task in the kernel has come to a stop or sleeps.
    pub(in crate::record) fn follow_into_kernel(&self, id: TaskId, running: &Running) -> Flow<Reached> {
        /// How long to wait at first and at most until looking whether it sleeps: nobody tells us of that.
        const PAUSE: std::ops::RangeInclusive<Duration> =
            Duration::from_micros(20)..=Duration::from_millis(1);
        /// How long it may take, in its own time and in all.
        const LONGEST: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));
        let (tid, pid) = (running.tid(), self[id].pid);
        let mut began = None;
        let mut pause = *PAUSE.start();
        loop {
            if let Polled::Done(wait) = running.poll()? {
                return Ok(Reached::Stop(wait));
            }
            if !matches!(state(tid), State::Runnable | State::Stopped | State::DiskSleep) {
                return Ok(Reached::Sleep);
            }
            let used = cpu_time(pid).unwrap_or_default();
            let (since, before) = *began.get_or_insert_with(|| (Instant::now(), used));
            if used.saturating_sub(before) > LONGEST.0 || since.elapsed() > LONGEST.1 {
                return Ok(Reached::Nothing);
            }
            self.children.heartbeat.next(pause);
            if let Polled::Done(wait) = running.wait()? {
                return Ok(Reached::Stop(wait));
            }
            pause = (pause * 2).min(*PAUSE.end());
        }
    }

    /// Wait until a task that sleeps, or is about to, has noticed what has been sent to it: its stop, if it has come to one.
    pub(in crate::record) fn reached_stop(&self, id: TaskId, running: &Running) -> Flow<Option<Wait>> {
        match self.follow_into_kernel(id, running)? {
            Reached::Stop(wait) => Ok(Some(wait)),
            Reached::Sleep | Reached::Nothing => Ok(None),
        }
    }

    /// See whether parked tasks have got signals. If one has been sent just now they are given the time to notice.
    pub(in crate::record) fn look_for_roused(&mut self, sent: bool) -> Flow<()> {
        for id in self.living().map(|task| task.id).collect::<Vec<_>>() {
            let task = &self[id];
            let (Hold::Parked(running) | Hold::Unparked(running)) = task.hold() else { continue };
            // Of one whose stop is known already there is nothing to wait for.
            if self.children.early.iter().any(|(tid, _)| *tid == task.tid) {
                continue;
            }
            let wait = match running.poll()? {
                Polled::Done(wait) => Some(wait),
                Polled::NotYet if sent => self.reached_stop(task.id, running)?,
                Polled::NotYet => None,
            };
            let tid = task.tid;
            self.children.early.extend(wait.map(|wait| (tid, wait)));
        }
        Ok(())
    }
}
