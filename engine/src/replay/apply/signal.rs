//! Signals.

use crate::replay::state::At;
use crate::replay::step::{Arrival, Flow, Step};
use crate::trace::event::Signal;
use crate::tracee::Stop;

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
}
