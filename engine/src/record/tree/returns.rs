//! How a call returns, whether the kernel has made it or it was left out, and what is logged of it.

use super::call::{Call, Outcome, fails};
use super::tasks::Hold;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::record::journal::Journal;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::syscalls;
use crate::task::TaskId;
use crate::trace::event::{Event, Registers, Syscall, Write, Written};
use crate::tracee::{Resume, Running, Stopped, to_exit};

impl Recorder<'_> {
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

impl Journal {
    /// Leaves out the kernel: the call has this outcome, whose writes are there already.
    pub(in crate::record) fn skip(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        let mut registers = call.registers;
        registers.set_number(u64::MAX);
        registers.set_result(outcome.result);
        stopped.set_registers(&registers)?;
        // The kernel has done nothing that could wake a task.
        let unsettled = self.unsettled;
        let next = self.finish(tasks, clock, id, stopped, call, outcome);
        self.unsettled = unsettled;
        next
    }

    /// The same for a call that the kernel has made, or another in its place: the program sees only its own.
    pub(in crate::record) fn finish_other(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        let mut registers = stopped.registers()?;
        registers.set_args(call.args());
        registers.set_number(u64::MAX);
        registers.set_result(outcome.result);
        stopped.set_registers(&registers)?;
        self.finish(tasks, clock, id, stopped, call, outcome)
    }

    /// Logs a call that has been made; its task goes on behind it.
    pub(in crate::record) fn finish(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        self.log_call(tasks, clock, id, call, outcome);
        tasks.mark(clock, id, &call.registers);
        tasks.hold(id, Hold::Ready(stopped));
        Ok(Next::Continue)
    }

    /// Logs a call that the running task has made.
    pub(in crate::record) fn log_call(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        id: TaskId,
        call: &Call,
        outcome: Outcome,
    ) {
        let Outcome { result, writes, effect } = outcome;
        let (position, number, args) = (clock.position(&call.registers), call.number(), call.args());
        tasks.task(id).arrived = None;
        self.unsettled |= syscalls::ticks(number);
        let given = syscalls::given(&tasks[id].space.memory, number, &args, result);
        self.log.push(Event::Syscall(Syscall { position, number, args, result, writes, given, effect }));
    }

    /// Log what the kernel writes in the middle of a call, or as a task ends.
    pub(in crate::record) fn log_written(&mut self, task: TaskId, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.log.push(Event::Written(Written { task, writes }));
        }
    }

    /// Log what a call has written into the memory of other tasks.
    pub(in crate::record) fn log_elsewhere(&mut self) {
        for (task, writes) in std::mem::take(&mut self.elsewhere) {
            self.log_written(task, writes);
        }
    }
}

impl Tasks {
    /// Bytes that an emulated call gives out at `address` (nowhere if that is null): the call's result and what it
    /// writes. They are checked to be writable here.
    pub(in crate::record) fn written(&self, id: TaskId, address: u64, bytes: Vec<u8>) -> (i64, Vec<Write>) {
        if address == 0 || bytes.is_empty() {
            return (0, Vec::new());
        }
        if self.space(id).memory.put(self[id].tid, address, &bytes).is_err() {
            return (fails(libc::EFAULT), Vec::new());
        }
        (0, vec![Write { address, bytes }])
    }

    /// What is at `address`, as a call has left it.
    pub(in crate::record) fn copy(&self, id: TaskId, address: u64, len: usize) -> Flow<Write> {
        Ok(Write { address, bytes: self.space(id).memory.bytes(address, len)? })
    }

    /// Replay can find a task at these registers: it has executed nothing since the last event.
    pub(in crate::record) fn mark(&mut self, clock: &Clock, id: TaskId, registers: &Registers) {
        self.task(id).boundary = clock.position(registers);
    }
}
