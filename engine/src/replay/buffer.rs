//! The system-call buffer: the same code as when recording, which takes from the trace what it logged then.

use super::replayer::{Hold, Replayer};
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::event::{Patched, Stream};
use crate::tracee::{Registers, SYSCALL_LEN, Stopped, buffered_calls};

impl Replayer<'_> {
    /// On the way to its next stop, the running task makes these calls.
    pub(super) fn buffered(&mut self, log: &[u8]) -> Result<(), Error> {
        self.note_hand_overs(log)?;
        for call in buffered_calls(log) {
            self.stats.syscalls += 1;
            if let Some(stream) = call.stream.and_then(Stream::of) {
                (self.options.output)(stream, call.payload);
            }
        }
        if self.clock.area().give_log(log) {
            Ok(())
        } else {
            Err(self.misplaced("a log of calls", &format!("{} bytes", log.len())))
        }
    }

    /// A call site leads into the buffer from now on.
    pub(super) fn patched(&mut self, patched: &Patched) -> Result<(), Error> {
        let Patched { site, code, stub, stub_code, here, traced } = patched;
        for (at, &task) in here.iter().enumerate() {
            // The first is the running one.
            let (stopped, mut registers) = if at == 0 { self.reach_call()? } else { self.at_call(task)? };
            if at == 0 && task != self.current {
                return Err(self.misplaced("the running task", &task.to_string()));
            }
            if registers.ip() != site.wrapping_add(SYSCALL_LEN) {
                let found = format!("one that ends at {:#x}", registers.ip());
                return Err(self.differs(format!("a system call at {site:#x}"), found));
            }
            registers.set_ip(*traced);
            stopped.set_registers(&registers)?;
            self.tasks[task.0 as usize].hold = Hold::Calling(stopped, registers);
        }
        if !self.clock.area().set_stub(*stub, stub_code) {
            return Err(self.misplaced("the address of a stub", &format!("{stub:#x}")));
        }
        self.space().memory.write(*site, code)
    }

    /// A task that waits stands at a call.
    fn at_call(&mut self, task: TaskId) -> Result<(Stopped, Registers), Error> {
        let hold =
            self.tasks.get_mut(task.0 as usize).map(|task| std::mem::replace(&mut task.hold, Hold::Gone));
        match hold {
            Some(Hold::Calling(stopped, registers)) => Ok((stopped, registers)),
            other => Err(self.misplaced("a task that waits", &format!("{other:?}"))),
        }
    }
}
