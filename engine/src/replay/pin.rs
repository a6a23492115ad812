//! Finding a moment in the middle of user code (see `record::preempt::pin` for how it was chosen).

use std::time::Instant;

use rrtest_preload::layout::SYS_HELLO;

use super::replayer::{Hold, Replayer, hello};
use crate::error::Error;
use crate::trace::event::{Extent, Pin};
use crate::tracee::{Breakpoint, Condition, Memory, Registers, Resume, Stop, Stopped};

/// More memory than the recorder looks at: a trace that says so is not one that it wrote.
const MOST_BYTES: u64 = 64 << 20;

impl Replayer<'_> {
    /// The running task comes to this moment.
    pub(super) fn pin(&mut self, pin: &Pin) -> Result<(), Error> {
        let bytes = pin.memory.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.len));
        if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(self.misplaced("a digest of some memory", &format!("{bytes:?} bytes")));
        }
        let space = self.space();
        let Pin { registers, vectors, ref words, key, .. } = *pin;
        let condition = Condition { registers, vectors, words: words.clone(), key };
        let (mut stopped, breakpoint) = Breakpoint::arm(self.take_ready()?, &space.memory, &condition)?;
        let since = Instant::now();
        let mut hits = 0_u64;
        loop {
            let stop;
            (stopped, stop) = self.resume(stopped, Resume::Freely)?;
            let registers = stopped.registers()?;
            match (stop, registers.number() as usize) {
                _ if breakpoint.hit(stop, &registers) => {
                    let registers = breakpoint.registers(&stopped, &space.memory)?.of_user_code();
                    if matches(pin, &stopped, &registers, &space.memory)? {
                        break;
                    }
                    hits += 1;
                    if since.elapsed() > self.options.patience {
                        let found = format!("{hits} moments like it within {:?}", self.options.patience);
                        return Err(self.differs(pin.position.to_string(), found));
                    }
                }
                (Stop::Seccomp, SYS_HELLO) => hello(&stopped, registers)?,
                (Stop::Event, _) => {}
                _ => return Err(self.differs(pin.position.to_string(), self.found(stop, &registers))),
            }
        }
        let stopped = breakpoint.disarm(stopped, &space.memory)?;
        let registers = stopped.registers()?.of_user_code();
        stopped.set_registers(&registers)?;
        self.check(&pin.position, &registers)?;
        self.set(Hold::Ready(stopped));
        Ok(())
    }
}

/// Whether all of a pin holds here.
fn matches(pin: &Pin, stopped: &Stopped, registers: &Registers, memory: &Memory) -> Result<bool, Error> {
    let word = |&(address, value): &(u64, u64)| memory.u64(address).is_ok_and(|found| found == value);
    let extent = |it: &Extent| memory.digest(it.address, it.len) == Some(it.digest);
    Ok(*registers == pin.registers
        && pin.words.iter().all(word)
        && stopped.vectors()? == pin.vectors
        && pin.memory.iter().all(extent))
}
