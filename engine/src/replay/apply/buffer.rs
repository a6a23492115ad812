//! The system-call buffer: the same code as when recording, which takes from the trace what it logged then.

use std::rc::Rc;

use rrtest_preload::layout::{Entry, SYS_READ};
use rrtest_preload::reads::What;

use crate::error::Error;
use crate::replay::step::{Arrival, Flow, Step};
use crate::task::TaskId;
use crate::trace::event::{MovedRead, MovedReads, Patched, Position, Stream, TrappedRead};
use crate::tracee::{Memory, Replaced, SYSCALL_LEN, Stop, buffered_calls};

impl Step<'_, '_> {
    /// On the way to the next stop, the running task makes these calls, and so do those to which the core is handed
    /// over.
    pub(in crate::replay) fn buffered(&mut self, log: &[u8]) -> Result<(), Error> {
        if !self.log_is_taken() {
            return Err(self.misplaced("an event", "a second log of calls, before the first was taken"));
        }
        self.note_hand_overs(log)?;
        for call in buffered_calls(log).filter(|call| !call.is_read()) {
            self.state.stats.syscalls += 1;
            if let Some(stream) = call.stream.and_then(Stream::of) {
                (self.control.output)(stream, call.payload);
            }
        }
        if !self.live.area.give_log(log) {
            return Err(self.misplaced("a log of calls", &format!("{} bytes", log.len())));
        }
        self.state.log.len = log.len() as u64;
        Ok(())
    }

    /// On the way to the next stop, tasks hand the core over as this log tells.
    fn note_hand_overs(&mut self, log: &[u8]) -> Result<(), Error> {
        self.state.log.hand_overs.clear();
        let mut end = 0;
        for call in buffered_calls(log) {
            end += Entry::size(call.payload.len()) as u64;
            let Some(handed) = call.handed else { continue };
            if handed.task as usize >= self.state.tasks.len() || handed.slice == 0 {
                return Err(self.misplaced("a living task and a timeslice", &format!("{handed:?}")));
            }
            self.state.log.hand_overs.push_back((end, handed));
        }
        Ok(())
    }

    /// A call site leads into the buffer from now on.
    pub(in crate::replay) fn patched(&mut self, patched: &Patched) -> Flow<()> {
        let Patched { site, code, stub, stub_code, here, traced, places } = patched;
        for (at, &task) in here.iter().enumerate() {
            // The first is the running one.
            let (stopped, mut registers) =
                if at == 0 { self.reach_call()? } else { self.take_calling(task)? };
            if at == 0 && task != self.state.current {
                return Err(self.misplaced("the running task", &task.to_string()).into());
            }
            if registers.ip() != site.wrapping_add(SYSCALL_LEN) {
                let found = format!("one that ends at {:#x}", registers.ip());
                return Err(self.differs(format!("a system call at {site:#x}"), found).into());
            }
            registers.set_ip(*traced);
            stopped.set_registers(&registers)?;
            self.calling(task, stopped, registers);
        }
        let task = self.state.current;
        let old = self.stands(&self.memory_of(task), *site, code.len())?;
        let replaced = Replaced { site: *site, old, new: code.clone(), stub: *stub, places: places.clone() };
        Ok(self.replace(task, stub_code, replaced)?)
    }

    /// Instructions of a task's code lead into the buffer from now on.
    pub(in crate::replay) fn moved_reads(&mut self, reads: &MovedReads) -> Result<(), Error> {
        if reads.task.0 as usize >= self.state.tasks.len() {
            return Err(self.misplaced("a task", &reads.task.to_string()));
        }
        let memory = self.memory_of(reads.task);
        let sites: Vec<(u64, usize)> = reads.moved.iter().map(|read| (read.site, read.code.len())).collect();
        // There are hundreds in each library.
        let olds = match memory.gather(&sites) {
            Some(olds) => olds,
            None => {
                sites.iter().map(|(site, len)| self.stands(&memory, *site, *len)).collect::<Result<_, _>>()?
            }
        };
        for (MovedRead { site, code, stub, stub_code, places }, old) in reads.moved.iter().zip(olds) {
            let replaced =
                Replaced { site: *site, old, new: code.clone(), stub: *stub, places: places.clone() };
            self.replace(reads.task, stub_code, replaced)?;
        }
        Ok(())
    }

    /// Returns the memory of a task that there is.
    fn memory_of(&self, task: TaskId) -> Rc<Memory> {
        Rc::clone(&self.live.memories[self.state.tasks[task.0 as usize].space])
    }

    /// Code of a task's address space is another from now on, and leads to a stub. If that has no code, it is there, or
    /// none is needed.
    fn replace(&mut self, task: TaskId, stub_code: &[u8], replaced: Replaced) -> Result<(), Error> {
        if !stub_code.is_empty() && !self.live.area.set_stub(replaced.stub, stub_code) {
            return Err(self.misplaced("the address of a stub", &format!("{:#x}", replaced.stub)));
        }
        self.put(&self.memory_of(task), replaced.site, &replaced.new)?;
        let space = self.state.tasks[task.0 as usize].space;
        Rc::make_mut(&mut self.state.spaces[space].originals).add(replaced);
        Ok(())
    }

    /// The running task's next stop must be at an instruction for which the buffer's log has come to its end.
    pub(in crate::replay) fn drained(&mut self, position: &Position) -> Flow<()> {
        let Arrival { stopped, stop, mut registers } = self.advance()?;
        if stop != Stop::Seccomp || registers.number() != SYS_READ as u64 {
            let expected = "an instruction that reads a clock or the like";
            return Err(self.differs(expected.into(), self.found(stop, &registers)).into());
        }
        self.check(position, &registers)?;
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.ready(stopped);
        Ok(())
    }

    /// The running task's next stop must be at a trap in place of an instruction.
    pub(in crate::replay) fn trapped_read(&mut self, read: &TrappedRead) -> Flow<()> {
        let TrappedRead { position, what, len, value, more } = *read;
        let what = What::of_word(what.into());
        let Arrival { stopped, stop, mut registers } = self.advance()?;
        if stop != Stop::Signal(libc::SIGTRAP) {
            return Err(self.differs(what.read.name().into(), self.found(stop, &registers)).into());
        }
        self.check(&position, &registers)?;
        registers.finish_read(what, len, value, more);
        registers.set_number(u64::MAX);
        stopped.set_registers(&registers)?;
        self.ready(stopped);
        Ok(())
    }
}
