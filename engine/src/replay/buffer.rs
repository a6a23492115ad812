//! The system-call buffer: the same code as when recording, which takes from the trace what it logged then.

use rrtest_preload::layout::SYS_READ;
use rrtest_preload::reads::What;

use super::replayer::{Hold, Replayer};
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::event::{MovedRead, MovedReads, Patched, Position, Stream, TrappedRead};
use crate::tracee::{Registers, Resume, SYSCALL_LEN, Stop, Stopped, buffered_calls};

impl Replayer<'_> {
    /// On the way to its next stop, the running task makes these calls.
    pub(super) fn buffered(&mut self, log: &[u8]) -> Result<(), Error> {
        self.note_hand_overs(log)?;
        for call in buffered_calls(log).filter(|call| !call.is_read()) {
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

    /// Instructions of a task's code lead into the buffer from now on.
    pub(super) fn moved_reads(&mut self, reads: &MovedReads) -> Result<(), Error> {
        let Some(task) = self.tasks.get(reads.task.0 as usize) else {
            return Err(self.misplaced("a task", &reads.task.to_string()));
        };
        for MovedRead { site, code, stub, stub_code } in &reads.moved {
            if !stub_code.is_empty() && !self.clock.area().set_stub(*stub, stub_code) {
                return Err(self.misplaced("the address of a stub", &format!("{stub:#x}")));
            }
            task.space.memory.write(*site, code)?;
        }
        Ok(())
    }

    /// The running task's next stop must be at an instruction for which the buffer's log has come to its end.
    pub(super) fn drained(&mut self, position: &Position) -> Result<(), Error> {
        let stopped = self.take_ready()?;
        let (stopped, stop) = self.resume(stopped, Resume::Freely)?;
        let mut registers = stopped.registers()?;
        if stop != Stop::Seccomp || registers.number() != SYS_READ as u64 {
            let expected = "an instruction that reads a clock or the like";
            return Err(self.differs(expected.into(), self.found(stop, &registers)));
        }
        self.check(position, &registers)?;
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.set(Hold::Ready(stopped));
        Ok(())
    }

    /// The running task's next stop must be at a trap in place of an instruction.
    pub(super) fn trapped_read(&mut self, read: &TrappedRead) -> Result<(), Error> {
        let TrappedRead { position, what, len, value, more } = *read;
        let what = What::of_word(what.into());
        let stopped = self.take_ready()?;
        let (stopped, stop) = self.resume(stopped, Resume::Freely)?;
        let mut registers = stopped.registers()?;
        if stop != Stop::Signal(libc::SIGTRAP) {
            return Err(self.differs(what.read.name().into(), self.found(stop, &registers)));
        }
        self.check(&position, &registers)?;
        registers.finish_read(what, len, value, more);
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.set(Hold::Ready(stopped));
        Ok(())
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
