//! How a call returns: what its task sees of it, and what is logged.

use super::recorder::Recorder;
use super::step::{Flow, Next};
use super::tree::call::{Call, Outcome};
use super::tree::task::Hold;
use crate::task::TaskId;
use crate::tracee::{Registers, Stopped};

impl Recorder<'_> {
    /// Finishes a call without the kernel. The writes of its outcome are in memory already.
    pub(in crate::record) fn skip(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        // The kernel has done nothing that could wake a task.
        let unsettled = self.journal.unsettled;
        let next = self.finish_as(id, stopped, call.registers, call, outcome);
        self.journal.unsettled = unsettled;
        next
    }

    /// Finishes a call in whose place the kernel has made another, or whose result differs: the program sees its own
    /// call.
    pub(in crate::record) fn finish_other(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        let mut registers = stopped.registers()?;
        registers.set_args(call.args());
        self.finish_as(id, stopped, registers, call, outcome)
    }

    /// Finishes a call with these registers, but for the result of its outcome.
    fn finish_as(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut registers: Registers,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        registers.set_number(u64::MAX);
        registers.set_result(outcome.result);
        stopped.set_registers(&registers)?;
        self.finish(id, stopped, call, outcome)
    }

    /// Logs a call that has been made, and lets its task go on.
    pub(in crate::record) fn finish(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        outcome: Outcome,
    ) -> Flow<Next> {
        self.journal.log_call(&mut self.tasks, &self.clock, id, call, outcome);
        self.tasks.mark(&self.clock, id, &call.registers);
        self.tasks.hold(id, Hold::Ready(stopped));
        Ok(Next::Continue)
    }
}
