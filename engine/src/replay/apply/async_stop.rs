//! Finding a moment in the middle of user code (see `record::preempt::async_stop` for how it was chosen).

use std::time::Instant;

use crate::error::Error;
use crate::replay::step::{Arrival, Flow, Step, Unfinished};
use crate::trace::event::{AsyncStop, Extent};
use crate::tracee::{Breakpoint, Condition, DebugRegisters, Memory, Registers, Resume, Stop, Stopped};

/// More memory than the recorder looks at: a trace that says so is not one that it wrote.
const MOST_BYTES: u64 = 64 << 20;

/// Code of ours that looks for a moment replaces fewer bytes of the program's than this.
const LONGEST_JUMP: u64 = 32;

/// A moment to which the running task is to come, while something else is stopped for, too.
pub(in crate::replay) struct Sought<'p> {
    async_stop: &'p AsyncStop,
    /// If the process itself looks for it, else a debug register stops at its instruction.
    within: Option<&'p Breakpoint>,
}

impl Sought<'_> {
    /// What is left of the countdown there.
    pub(in crate::replay) fn left(&self) -> u64 {
        self.async_stop.position.left
    }

    /// Where a debug register is to stop.
    pub(in crate::replay) fn breakpoint(&self) -> Option<u64> {
        self.within.is_none().then(|| self.async_stop.registers.ip())
    }

    /// Whether a task that has stopped with SIGTRAP may be there.
    pub(in crate::replay) fn is_hit(&self, registers: &Registers) -> bool {
        match self.within {
            Some(within) => within.hit(Stop::Signal(libc::SIGTRAP), registers),
            None => registers.ip() == self.async_stop.registers.ip(),
        }
    }

    /// Whether a stopped task is there.
    pub(in crate::replay) fn is_here(
        &self,
        stopped: &Stopped,
        registers: Registers,
        memory: &Memory,
    ) -> Result<bool, Error> {
        let registers = match self.within {
            Some(within) if self.is_hit(&registers) => within.registers(stopped, memory)?,
            _ => registers,
        };
        matches(self.async_stop, stopped, &registers.of_user_code(), memory)
    }
}

impl Step<'_, '_> {
    /// The running task comes to this moment.
    pub(in crate::replay) fn async_stop(&mut self, async_stop: &AsyncStop) -> Flow<()> {
        let bytes = async_stop.memory.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.len));
        if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(self.misplaced("a digest of some memory", &format!("{bytes:?} bytes")).into());
        }
        let stopped =
            if self.stops.are_none() { self.come_to(async_stop)? } else { self.come_to_watched(async_stop)? };
        let registers = stopped.registers()?.of_user_code();
        stopped.set_registers(&registers)?;
        self.check(&async_stop.position, &registers)?;
        self.ready(stopped);
        Ok(())
    }

    fn come_to(&mut self, async_stop: &AsyncStop) -> Flow<Stopped> {
        let memory = self.memory();
        self.live.area.set_log_end(self.state.log.len);
        let stopped = self.take_ready()?;
        self.live.handle(self.state.current).watch(&stopped, &DebugRegisters::default())?;
        let (mut stopped, breakpoint) = Breakpoint::arm(stopped, &memory, &condition(async_stop))?;
        let since = Instant::now();
        let mut hits = 0_u64;
        loop {
            let stop;
            (stopped, stop) = self.resume(stopped, Resume::Freely)?;
            let registers = stopped.registers()?;
            if breakpoint.hit(stop, &registers) {
                let registers = breakpoint.registers(&stopped, &memory)?.of_user_code();
                if matches(async_stop, &stopped, &registers, &memory)? {
                    break;
                }
                hits += 1;
                if since.elapsed() > self.control.patience {
                    let found = format!("{hits} moments like it within {:?}", self.control.patience);
                    return Err(self.differs(async_stop.position.to_string(), found).into());
                }
            } else if !self.is_passed(&stopped, stop, registers)? {
                return Err(self
                    .differs(async_stop.position.to_string(), self.found(stop, &registers))
                    .into());
            }
        }
        Ok(breakpoint.disarm(stopped, &memory)?)
    }

    /// The same while something else is stopped for, which may come first.
    fn come_to_watched(&mut self, async_stop: &AsyncStop) -> Flow<Stopped> {
        let memory = self.memory();
        // Who steps by instructions sees the program's own; and a breakpoint there would stand in other code.
        let start = async_stop.registers.ip().saturating_sub(LONGEST_JUMP);
        let near = start..start.saturating_add(2 * LONGEST_JUMP);
        let within = if self.stops.instruction || self.stops.breakpoints.range(near).next().is_some() {
            None
        } else {
            let (stopped, within) =
                Breakpoint::arm_within(self.take_ready()?, &memory, &condition(async_stop))?;
            self.ready(stopped);
            within
        };
        let sought = Sought { async_stop, within: within.as_ref() };
        let outcome = self.advance_watched(Some(&sought));
        let (stopped, halted) = match outcome {
            Ok(Arrival { stopped, stop, registers }) => {
                if stop != Stop::Signal(libc::SIGTRAP) || !sought.is_here(&stopped, registers, &memory)? {
                    return Err(self
                        .differs(async_stop.position.to_string(), self.found(stop, &registers))
                        .into());
                }
                (stopped, None)
            }
            Err(Unfinished::Halted(why)) => (self.take_ready()?, Some(why)),
            Err(failed) => return Err(failed),
        };
        let stopped = match within {
            Some(within) => within.disarm(stopped, &memory)?,
            None => stopped,
        };
        let Some(why) = halted else { return Ok(stopped) };
        self.ready(stopped);
        Err(Unfinished::Halted(why))
    }
}

fn condition(async_stop: &AsyncStop) -> Condition {
    let AsyncStop { registers, vectors, ref words, key, .. } = *async_stop;
    Condition { registers, vectors, words: words.clone(), key }
}

/// Whether all of a moment holds here.
fn matches(
    async_stop: &AsyncStop,
    stopped: &Stopped,
    registers: &Registers,
    memory: &Memory,
) -> Result<bool, Error> {
    let word = |&(address, value): &(u64, u64)| memory.u64(address).is_ok_and(|found| found == value);
    let extent = |it: &Extent| memory.digest(it.address, it.len) == Some(it.digest);
    Ok(*registers == async_stop.registers
        && async_stop.words.iter().all(word)
        && stopped.vectors()? == async_stop.vectors
        && async_stop.memory.iter().all(extent))
}
