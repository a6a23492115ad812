//! Instructions that read a clock, a random number or the processor's identity, where they stop.

use crate::record::in_process::reads::Trapped;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::Call;
use crate::record::tree::task::Hold;
use crate::schedule::Why;
use crate::task::TaskId;
use crate::trace::event::{Event, Registers, TrappedRead};
use crate::tracee::Stopped;

impl Recorder<'_> {
    /// Handles a stop at such an instruction: the buffer's log has no room for it, or it shows that the program has
    /// started up.
    pub(in crate::record) fn drain(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut registers: Registers,
    ) -> Flow<Next> {
        self.take_buffered();
        if self.scheduler.start_up.take().is_some() {
            self.tasks.hold(id, Hold::Calling(stopped, Call::new(registers)));
            return Ok(Next::Decide(Why::Start, None));
        }
        self.journal.log.push(Event::Drained(self.clock.position(&registers)));
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.tasks.hold(id, Hold::Ready(stopped));
        // The task is in the middle of the buffer's code, on the stack that all tasks share, so no other task may run.
        // While the program starts up there is no other task.
        Ok(Next::Stay)
    }

    /// Makes the read if the running task, which has raised a signal, stands behind a trap in place of such an
    /// instruction. Otherwise gives the task back.
    pub(in crate::record) fn trapped_read(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut registers: Registers,
    ) -> Flow<Result<Next, Stopped>> {
        let trapped =
            registers.ip().checked_sub(1).and_then(|site| self.code.reads.traps.get(&site)).copied();
        let Some(Trapped { what, len }) = trapped else { return Ok(Err(stopped)) };
        self.take_buffered();
        let position = self.clock.position(&registers);
        let (value, more) = self.tasks.read(&self.clock, id, what, &registers);
        registers.finish_read(what, len, value, more);
        registers.set_number(u64::MAX);
        let stopped = self.tasks.deafen(id, stopped)?;
        stopped.set_registers(&registers)?;
        self.journal.log.push(Event::TrappedRead(TrappedRead {
            position,
            what: what.word(),
            len,
            value,
            more,
        }));
        self.tasks.mark(&self.clock, id, &registers);
        self.tasks.hold(id, Hold::Ready(stopped));
        let started = what.read.varies() && !what.linker && self.scheduler.start_up.take().is_some();
        Ok(Ok(if started { Next::Decide(Why::Start, None) } else { Next::Continue }))
    }
}
