//! Collects tasks that return from the kernel.

use crate::record::recorder::Recorder;
use crate::record::step::{Flow, bug};
use crate::record::tree::call::{Call, Stage};
use crate::record::tree::in_kernel::Reached;
use crate::record::tree::task::Hold;
use crate::tracee::{Resume, Stop, WaitStatus, Waited as Polled};

impl Recorder<'_> {
    /// Handles the tasks that have returned from the kernel.
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

    /// Lets tasks that a call may have woken in the kernel come to their stops. If it were left to chance when the
    /// recorder hears of them, equal schedules would not stay equal.
    pub(in crate::record) fn settle(&mut self) -> Flow<()> {
        if !std::mem::take(&mut self.journal.unsettled) {
            return Ok(());
        }
        self.poller.poll_watches(&mut self.tasks)?;
        // This is for tasks that a signal has stopped.
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

    /// Handles the stop of a task that waited in the kernel.
    pub(in crate::record) fn left_kernel(&mut self, tid: nix::unistd::Pid, wait: WaitStatus) -> Flow<()> {
        let Some(id) = self.tasks.with_tid(tid).map(|task| task.id) else {
            // The kernel may report a new task's first stop before its creator's.
            self.tasks.children.newborn.push((tid, wait));
            return Ok(());
        };
        let WaitStatus::Stopped(stopped, stop) = wait else {
            return self.died_in_kernel(id);
        };
        if self.tasks[id].hold().parked() {
            self.tasks.children.early.push((tid, WaitStatus::Stopped(stopped, stop)));
            return Ok(());
        }
        let call = match self.tasks.release(id) {
            Hold::InKernel(_, call) => call,
            Hold::Suspended(_, call) => return self.tasks.left_stop(id, stopped, stop, call),
            _ => return Err(bug(format!("{id} has stopped, but was not running"))),
        };
        let hold = if stop == Stop::SyscallExit && call.stage == Stage::InKernel {
            self.tasks.woken = true;
            Hold::Returned(stopped, call)
        } else if stop == Stop::SyscallExit {
            self.tasks.woken = true;
            // What has become ready may be gone when the task has the core: it looks again.
            let stage = if stopped.registers()?.result() == 0 { Stage::TimedOut } else { Stage::Due };
            Hold::Again(stopped, Call { stage, ..call })
        } else {
            // It gets its signals after the call.
            Hold::InKernel(stopped.resume(Resume::ToSyscallExit, 0)?, call)
        };
        self.tasks.hold(id, hold);
        Ok(())
    }
}
