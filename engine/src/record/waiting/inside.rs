//! Calls that stay inside the kernel while other tasks run.
//!
//! What blocks on something else than a descriptor cannot be waited for in its place. The kernel must not write into a
//! program's memory meanwhile: the call's outputs are redirected to scratch memory, and copied when its task has the core
//! again.
//!
//! All tasks share one core with the recorder. So whoever waits for one of them to get somewhere must sleep: looking again
//! and again, even with sched_yield(2), takes the very time from it that it needs, and on a loaded machine much more.

use std::time::{Duration, Instant};

use crate::record::calls::outputs::Before;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, Redirection, Waited, interrupted};
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::{Hold, Tasks};
use crate::schedule::Why;
use crate::syscalls::{Answer, Block, Description, Out, describe};
use crate::task::TaskId;
use crate::tracee::{Memory, Resume, Running, State, Stop, Stopped, Wait, Waited as Polled, cpu_time, state};

/// Where a task in the kernel has got to.
enum Reached {
    /// It has stopped, or ended.
    Stop(Wait),
    /// It is asleep.
    Sleep,
    /// Neither, for long: it computes, or does not get the core.
    Nothing,
}

impl Poller {
    /// Whether a call may stay in the kernel while others run: then where its outputs go.
    pub(in crate::record) fn may_stay(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        id: TaskId,
        description: &Description,
        call: &Call,
    ) -> Option<Vec<Redirection>> {
        let may = match description.block {
            _ if tasks.alone(options) => false,
            Block::Inside | Block::Children => true,
            // More than there is room for: write(2) blocks in the middle of it.
            Block::Writable(fd) => {
                self.is_waited_on(tasks, id, call.args()[fd]) && !self.has_room(tasks, id, call)
            }
            _ => false,
        };
        let task = &tasks[id];
        let base = task.scratch.filter(|_| may)?;
        redirections(&task.space.memory, base, description, &call.args())
    }
}

impl Recorder<'_> {
    /// From the entry of a call that may stay in the kernel to its exit, or to where it sleeps.
    pub(in crate::record) fn stay(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        self.poller.look_again();
        let changed = self.time.clocks.at_machine_time(&self.tasks, id, &call)?;
        if !call.redirected.is_empty() || changed.is_some() {
            let mut registers = changed.unwrap_or(call.registers);
            let mut args = registers.args();
            let memory = &self.tasks.space(id).memory;
            for Redirection { argument, scratch, len } in &call.redirected {
                // Some calls read first what they overwrite: an offset in a file.
                memory.write(*scratch, &memory.available(args[*argument], *len as usize))?;
                args[*argument] = *scratch;
            }
            registers.set_args(args);
            stopped.set_registers(&registers)?;
        }
        let mut running = stopped.resume(Resume::ToSyscallExit, 0)?;
        loop {
            match self.tasks.follow_into_kernel(id, &running)? {
                Reached::Stop(Wait::Stopped(stopped, Stop::SyscallExit)) => {
                    return self.returned(id, stopped, &call);
                }
                Reached::Stop(Wait::Stopped(stopped, _)) => {
                    running = stopped.resume(Resume::ToSyscallExit, 0)?;
                }
                Reached::Stop(Wait::Dead(death)) => return self.died(id, death),
                Reached::Sleep => {
                    let call = Call { wait: Waited::Inside, ..call };
                    self.tasks.hold(id, Hold::InKernel(running, call));
                    return Ok(Next::Decide(Why::Blocked, None));
                }
                Reached::Nothing => {}
            }
        }
    }

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

    /// A call that could stay in the kernel while others ran has ended.
    pub(in crate::record) fn returned(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let Some(description) = describe(call.number()) else {
            return self.tasks.unsupported(id, crate::syscalls::name(call.number()));
        };
        let result = self.tasks.bring_back(id, &stopped, call, description)?;
        let writes = self.tasks.outputs(id, description, call, &Before::default(), result)?;
        if interrupted(result) {
            return self.tasks.interrupted(id, stopped, call, writes);
        }
        self.conclude(id, stopped, call, Outcome::new(result, writes))
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
    fn follow_into_kernel(&self, id: TaskId, running: &Running) -> Flow<Reached> {
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

    /// Put what a call wrote to scratch memory to where the program wants it, and the program's own arguments back. The
    /// call's result.
    fn bring_back(&self, id: TaskId, stopped: &Stopped, call: &Call, description: &Description) -> Flow<i64> {
        let mut registers = stopped.registers()?;
        let mut result = registers.result();
        if registers.args() == call.args() {
            return Ok(result);
        }
        let wanted = result >= 0 || description.outs.iter().any(|out| matches!(out, Out::Always(..)));
        let memory = &self.space(id).memory;
        for Redirection { argument, scratch, len } in call.redirected.iter().filter(|_| wanted) {
            let bytes = memory.bytes(*scratch, *len as usize)?;
            if memory.write(call.args()[*argument], &bytes).is_err() {
                result = -i64::from(libc::EFAULT);
            }
        }
        registers.set_args(call.args());
        registers.set_result(result);
        stopped.set_registers(&registers)?;
        Ok(result)
    }
}

/// Where the outputs of a call with these arguments go while others run, from `base` on; none if there is no room for
/// them, or they are not simple enough.
fn redirections(
    memory: &Memory,
    base: u64,
    description: &Description,
    args: &[u64; 6],
) -> Option<Vec<Redirection>> {
    let mut at = scratch::FDS;
    let mut redirected = Vec::new();
    for out in description.outs {
        let (argument, len) = match *out {
            Out::Fixed(argument, len) | Out::Always(argument, len) => (argument, len),
            Out::Typed(argument) => (argument, args[argument + 1].saturating_add(8)),
            Out::Returned(argument) => (argument, args[argument + 1]),
            Out::Commands(commands) => match commands.answer(memory, args) {
                Some(Answer::Writes([]) | Answer::Emulated(_) | Answer::Refused(_)) => continue,
                _ => return None,
            },
            _ => return None,
        };
        if args[argument] != 0 && len != 0 {
            redirected.push(Redirection { argument, scratch: base + at, len });
            at = at.saturating_add(len.next_multiple_of(16));
        }
    }
    (at <= scratch::FDS + scratch::MOST * 8).then_some(redirected)
}
