//! The system-call buffer: the same code as when recording, which takes from the trace what it logged then.

use rrtest_preload::layout::Descriptor;

use super::replayer::{Hold, Replayer};
use crate::error::Error;
use crate::trace::event::{Patched, Stream};
use crate::tracee::buffered_calls;

impl Replayer<'_> {
    /// On the way to its next stop, the running task makes these calls.
    pub(super) fn buffered(&mut self, log: &[u8]) -> Result<(), Error> {
        for call in buffered_calls(log) {
            self.stats.syscalls += 1;
            match call.stream {
                Some(Descriptor::Stdout) => (self.options.output)(Stream::Stdout, call.payload),
                Some(Descriptor::Stderr) => (self.options.output)(Stream::Stderr, call.payload),
                _ => {}
            }
        }
        if self.clock.area().give_log(log) {
            Ok(())
        } else {
            Err(self.misplaced("a log of calls", &format!("{} bytes", log.len())))
        }
    }

    /// The running task comes to a call site, which leads into the buffer from then on.
    pub(super) fn patched(&mut self, patched: &Patched) -> Result<(), Error> {
        let (stopped, mut registers) = self.reach_call()?;
        let behind = patched.site.wrapping_add(2);
        if registers.ip() != behind {
            let found = format!("one that ends at {:#x}", registers.ip());
            return Err(self.differs(format!("a system call at {:#x}", patched.site), found));
        }
        if !self.clock.area().set_stub(patched.stub, &patched.stub_code) {
            return Err(self.misplaced("the address of a stub", &format!("{:#x}", patched.stub)));
        }
        self.space().memory.write(patched.site, &patched.code)?;
        registers.set_ip(patched.traced);
        stopped.set_registers(&registers)?;
        self.set(Hold::Calling(stopped, registers));
        Ok(())
    }
}
