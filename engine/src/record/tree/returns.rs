//! How a call returns, whether the kernel has made it or it was left out, and what is logged of it.

use super::call::{Call, fails};
use super::tasks::Hold;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::record::journal::Journal;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::waiting::poller::Poller;
use crate::syscalls;
use crate::task::TaskId;
use crate::trace::event::{Effect, Event, Position, Registers, Syscall, Write, Written};
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
    /// Leave out the kernel: the call returns `result`; `writes` are there already.
    pub(in crate::record) fn skip(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        poller: &mut Poller,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        result: i64,
        writes: Vec<Write>,
    ) -> Flow<Next> {
        self.skip_with(tasks, clock, poller, id, stopped, call, result, writes, Effect::None)
    }

    /// The same, with what else it does.
    pub(in crate::record) fn skip_with(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        poller: &mut Poller,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        result: i64,
        writes: Vec<Write>,
        effect: Effect,
    ) -> Flow<Next> {
        let position = clock.position(&call.registers);
        let mut registers = call.registers;
        registers.set_number(u64::MAX);
        registers.set_result(result);
        stopped.set_registers(&registers)?;
        // The kernel has done nothing that could wake a task.
        let unsettled = poller.unsettled;
        let next = self.finish(tasks, clock, poller, id, stopped, call, position, result, writes, effect);
        poller.unsettled = unsettled;
        next
    }

    /// Log a call that has been made; its task goes on behind it.
    #[expect(clippy::too_many_arguments, reason = "they are the event's fields")]
    pub(in crate::record) fn finish(
        &mut self,
        tasks: &mut Tasks,
        clock: &Clock,
        poller: &mut Poller,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        position: Position,
        result: i64,
        writes: Vec<Write>,
        effect: Effect,
    ) -> Flow<Next> {
        self.log_call(tasks, poller, id, call, position, result, writes, effect);
        tasks.mark(clock, id, &call.registers);
        tasks.hold(id, Hold::Ready(stopped));
        Ok(Next::Continue)
    }

    pub(in crate::record) fn log_call(
        &mut self,
        tasks: &mut Tasks,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
        position: Position,
        result: i64,
        writes: Vec<Write>,
        effect: Effect,
    ) {
        let (number, args) = (call.number(), call.args());
        tasks.task(id).arrived = None;
        poller.look_again();
        poller.unsettled |= syscalls::ticks(number);
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
