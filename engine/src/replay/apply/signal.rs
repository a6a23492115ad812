//! Signals.

use crate::Error;
use crate::replay::state::At;
use crate::replay::step::{Arrival, Flow, Step};
use crate::trace::event::Signal;
use crate::tracee::{FrameState, Registers, Stop, Stopped};

impl Step<'_, '_> {
    /// A signal reaches the running task: by its own instruction, or where it stands.
    pub(in crate::replay) fn signal(&mut self, signal: &Signal) -> Flow<()> {
        let (stopped, mut registers) = if signal.fault {
            let Arrival { stopped, stop, registers } = self.advance()?;
            // Where there is no room for a handler's frame, SIGSEGV takes the place of what was raised.
            let raised = matches!(stop, Stop::Signal(number) if number == signal.number || signal.number == libc::SIGSEGV);
            if !raised {
                let expected = format!("signal {} raised by an instruction", signal.number);
                return Err(self.differs(expected, self.found(stop, &registers)).into());
            }
            (stopped, registers)
        } else {
            match self.state.running().at {
                // The call that it interrupts is not made.
                At::Calling(_) => {
                    let (stopped, registers) = self.take_calling(self.state.current)?;
                    let mut unmade = registers;
                    unmade.set_number(u64::MAX);
                    stopped.set_registers(&unmade)?;
                    (stopped, registers)
                }
                At::Repeating => {
                    let stopped = self.take_ready()?;
                    let (stopped, _) = self.run_to_exit(stopped)?;
                    let registers = stopped.registers()?;
                    (stopped, registers)
                }
                _ => {
                    let stopped = self.take_ready()?;
                    let registers = stopped.registers()?;
                    (stopped, registers)
                }
            }
        };
        self.check(&signal.position, &registers)?;
        match &signal.handler {
            None if self.state.is_of_first(self.state.current) => self.state.killed_by = Some(signal.number),
            // As long as the kernel writes to its memory, that is there.
            None => self.state.dying = Some(self.state.current),
            Some(handler) => {
                let memory = self.memory();
                for write in &handler.writes {
                    self.put(&memory, write.address, &write.bytes)?;
                }
                registers = handler.registers;
                registers.set_number(u64::MAX);
                stopped.set_registers(&registers)?;
                stopped.reset_vector_state()?;
            }
        }
        self.ready(stopped);
        Ok(())
    }

    /// Does what rt_sigreturn(2) does. The kernel would read the vector registers in the layout of this processor, but
    /// the frame has that of the recorded one. (Signal mask and alternative stack matter to the kernel alone, which
    /// delivers no signals here.)
    pub(in crate::replay) fn signal_return(
        &mut self,
        stopped: Stopped,
        registers: Registers,
    ) -> Result<(), Error> {
        /// The kernel stores the vector registers at multiples of this, and takes them from nowhere else.
        const ALIGNMENT: u64 = 64;
        let memory = self.memory();
        // `struct ucontext` follows the return address, which the handler has popped (arch/x86/include/asm/sigframe.h).
        let at = |offset: u64| registers.sp().checked_add(offset);
        let mut context = [0; Registers::CONTEXT];
        let general = at(Registers::CONTEXT_AT).and_then(|address| memory.read(address, &mut context).ok());
        let fpstate = at(FrameState::POINTER).and_then(|address| memory.u64(address).ok());
        let layout = self.live.contents.machine().states();
        let vectors =
            fpstate.filter(|address| *address != 0 && address.is_multiple_of(ALIGNMENT)).and_then(|start| {
                FrameState::read(layout, |offset, len| {
                    let mut bytes = vec![0; len];
                    memory.read(start.checked_add(offset as u64)?, &mut bytes).ok()?;
                    Some(bytes)
                })
            });
        match (general, vectors, fpstate) {
            (Some(()), Some(vectors), _) => {
                if let Err(lacking) = stopped.restore_vector_state(&vectors)? {
                    let expected = format!("a signal handler's end, which restores {lacking}");
                    return Err(self.differs(expected, "a processor without them".to_owned()));
                }
            }
            (Some(()), None, Some(0)) => stopped.reset_vector_state()?,
            // There is no such frame. The kernel raises SIGSEGV, as it did.
            _ => {
                let (stopped, _) = self.run_to_exit(stopped)?;
                self.ready(stopped);
                return Ok(());
            }
        }
        stopped.set_registers(&registers.returned(&context))?;
        self.ready(stopped);
        Ok(())
    }
}
