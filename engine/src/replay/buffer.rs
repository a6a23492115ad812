//! The system-call buffer: the same code as when recording, which takes from the trace what it logged then.

use super::replayer::{Hold, Replayer};
use crate::error::Error;
use crate::trace::event::{Patched, Stream};
use crate::tracee::{SYSCALL_LEN, buffered_calls};

impl Replayer<'_> {
    /// On the way to its next stop, the running task makes these calls.
    pub(super) fn buffered(&mut self, log: &[u8]) -> Result<(), Error> {
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
        let Patched { site, code, stub, stub_code, here } = patched;
        if let Some(traced) = *here {
            let (stopped, mut registers) = self.reach_call()?;
            if registers.ip() != site.wrapping_add(SYSCALL_LEN) {
                let found = format!("one that ends at {:#x}", registers.ip());
                return Err(self.differs(format!("a system call at {site:#x}"), found));
            }
            registers.set_ip(traced);
            stopped.set_registers(&registers)?;
            self.set(Hold::Calling(stopped, registers));
        }
        if !self.clock.area().set_stub(*stub, stub_code) {
            return Err(self.misplaced("the address of a stub", &format!("{stub:#x}")));
        }
        self.space().memory.write(*site, code)
    }
}
