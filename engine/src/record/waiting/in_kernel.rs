//! Calls that block in the kernel while other tasks run.
//!
//! A call that blocks on something other than a descriptor has no stand-in. The kernel must not write into the
//! program's memory meanwhile: the call's outputs are redirected to scratch memory, and copied when its task has the
//! core again.
//!
//! All tasks share one core with the recorder. So while waiting for one of them, the recorder must sleep: polling, even
//! with sched_yield(2), takes the very time that the task needs, and on a loaded machine much more.

use crate::record::calls::outputs::Before;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, Redirection, Stage, interrupted};
use crate::record::tree::in_kernel::Reached;
use crate::record::tree::slots::scratch;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::syscalls::{Answer, Block, Description, Out, describe};
use crate::task::TaskId;
use crate::tracee::{Memory, Resume, Stop, Stopped, WaitStatus};

impl Poller {
    /// Whether a call may stay in the kernel while others run. Returns where its outputs go.
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
            Block::InKernel | Block::Children => true,
            // It writes more than there is room for: write(2) blocks in the middle.
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
    /// Runs a task from the entry of a call that may stay in the kernel to its exit, or until it sleeps.
    pub(in crate::record) fn stay(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        self.poller.look_again();
        let changed = self.time.clocks.at_machine_time(&self.tasks, &self.time.alarms, id, &call)?;
        if !call.redirected.is_empty() || changed.is_some() {
            let mut registers = changed.unwrap_or(call.registers);
            let mut args = registers.args();
            let memory = &self.tasks.space(id).memory;
            for Redirection { argument, scratch, len } in &call.redirected {
                // Some calls first read what they overwrite, for instance a file offset.
                memory.write(*scratch, &memory.available(args[*argument], *len as usize))?;
                args[*argument] = *scratch;
            }
            registers.set_args(args);
            stopped.set_registers(&registers)?;
        }
        let mut running = stopped.resume(Resume::ToSyscallExit, 0)?;
        loop {
            match self.tasks.follow_into_kernel(id, &running)? {
                Reached::Stop(WaitStatus::Stopped(stopped, Stop::SyscallExit)) => {
                    return self.returned(id, stopped, &call);
                }
                Reached::Stop(WaitStatus::Stopped(stopped, _)) => {
                    running = stopped.resume(Resume::ToSyscallExit, 0)?;
                }
                Reached::Stop(WaitStatus::Dead(death)) => return self.died(id, death),
                Reached::Sleep => {
                    let call = Call { stage: Stage::InKernel, ..call };
                    self.tasks.hold(id, Hold::InKernel(running, call));
                    return Ok(Next::Decide(Why::Blocked, None));
                }
                Reached::Nothing => {}
            }
        }
    }

    /// Finishes a call that stayed, or could have stayed, in the kernel.
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
}

impl Tasks {
    /// Copies what a call wrote to scratch memory to the program's memory, and restores the program's arguments.
    /// Returns the call's result.
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

/// Returns where the outputs of a call go while others run, beginning at `base`. `None` if there is no room for them,
/// or they are not simple enough.
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
