//! Breakpoints with a condition: they stop where the program passes with given registers and memory.
//!
//! The condition is evaluated in the program's own process (see [`super::detour`]) where its code allows it. Elsewhere
//! a hardware breakpoint stops each time, which takes some 30 µs, and the tracer compares.
//!
//! While a breakpoint is armed, the process's code is changed, and two pages are mapped. Nothing of that may be left
//! when the process does anything that others see, so disarm it at the next stop that is not its own.

use std::ops::Range;

use super::detour::{Detour, displaceable, string_instruction};
use crate::Error;
use crate::tracee::inject::apart::apart;
use crate::tracee::proc::{Line, Memory, maps};
use crate::tracee::ptrace::{Registers, Stop, Stopped, Vectors};
use crate::tracee::system::PAGE;

/// The condition for a breakpoint to be hit.
#[derive(Clone, Debug)]
pub struct Condition {
    /// All general registers and the flags, as [`Registers::of_user_code`] gives them.
    pub registers: Registers,
    /// The vector registers.
    pub vectors: Vectors,
    /// Words of memory: address and value. They are compared before the other registers.
    pub words: Vec<(u64, u64)>,
    /// The number of a register that differs most of the time. It is compared first.
    pub key: Option<u8>,
}

/// How well a breakpoint with a condition can be placed at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placement {
    /// The tracer would evaluate the condition.
    Poor,
    /// The process evaluates it; several instructions are displaced.
    Good,
    /// The process evaluates it; only this instruction is displaced.
    Best,
}

impl Placement {
    /// Determines the placement at `ip`.
    #[must_use]
    pub fn at(memory: &Memory, ip: u64) -> Self {
        if displaceable(memory, ip, true).is_some() {
            Self::Best
        } else if displaceable(memory, ip, false).is_some() {
            Self::Good
        } else {
            Self::Poor
        }
    }
}

/// Returns the end of the string instruction at `ip`; `None` for other instructions. String instructions can stop
/// half-way, and may take long.
#[must_use]
pub fn end_of_string(memory: &Memory, ip: u64) -> Option<u64> {
    string_instruction(memory, ip).map(|instruction| instruction.next_ip())
}

/// An armed breakpoint.
#[derive(Debug)]
pub struct Breakpoint {
    site: u64,
    /// `None` for a hardware breakpoint.
    detour: Option<(Detour, u64)>,
}

/// Bytes of memory that a detour needs, for code and data.
const ROOM: u64 = 2 * PAGE;

impl Breakpoint {
    /// Arms a breakpoint. The task may stand in user code, or at the entry or exit of a system call, and stands there
    /// afterwards. A signal that it was about to get is lost.
    ///
    /// # Errors
    /// If the task dies, or its memory or breakpoint registers cannot be set.
    pub fn arm(task: Stopped, memory: &Memory, condition: &Condition) -> Result<(Stopped, Self), Error> {
        let site = condition.registers.ip();
        match Self::arm_within(task, memory, condition)? {
            (task, Some(armed)) => Ok((task, armed)),
            (task, None) => {
                task.break_at(Some(site))?;
                Ok((task, Self { site, detour: None }))
            }
        }
    }

    /// The same only if the condition can be evaluated in the process.
    ///
    /// # Errors
    /// As [`Self::arm`].
    pub fn arm_within(
        task: Stopped,
        memory: &Memory,
        condition: &Condition,
    ) -> Result<(Stopped, Option<Self>), Error> {
        let site = condition.registers.ip();
        let Some(instructions) = displaceable(memory, site, false) else { return Ok((task, None)) };
        let lines = maps(task.tid())?;
        // Writes to a shared mapping are visible to others, and may be refused.
        let private = lines.iter().any(|line| (line.start..line.end).contains(&site) && !line.shared);
        let Some(base) = hole(&lines, site).filter(|_| private) else { return Ok((task, None)) };
        let made = Detour::new(memory, &instructions, base, condition);
        let Some((detour, constants)) = made else { return Ok((task, None)) };
        let prot = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE) as u64;
        let args = [base, ROOM, prot, flags, u64::MAX, 0];
        let (task, mapped) = apart(task, libc::SYS_mmap as u64, args)?;
        if mapped != base.cast_signed() {
            return Ok((task, None));
        }
        memory.write(base, &detour.code)?;
        memory.write(detour.constants(), &constants)?;
        memory.write(site, &detour.jump)?;
        Ok((task, Some(Self { site, detour: Some((detour, base)) })))
    }

    /// Whether a task has stopped for this breakpoint. Then the condition holds, except for what the caller must
    /// compare itself with a hardware breakpoint.
    #[must_use]
    pub fn hit(&self, stop: Stop, registers: &Registers) -> bool {
        stop == Stop::Signal(libc::SIGTRAP)
            && match &self.detour {
                Some((detour, _)) => detour.trapped(registers.ip()),
                None => registers.ip() == self.site,
            }
    }

    /// Returns the registers that a stopped task would have without the breakpoint.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn registers(&self, task: &Stopped, memory: &Memory) -> Result<Registers, Error> {
        let registers = task.registers()?;
        match &self.detour {
            Some((detour, _)) => detour.registers(memory, registers),
            None => Ok(registers),
        }
    }

    /// Disarms the breakpoint. The task goes on as if it had not been there, from wherever it stands. A signal that it
    /// was about to get is lost.
    ///
    /// # Errors
    /// If the task dies, or its memory cannot be set.
    pub fn disarm(self, task: Stopped, memory: &Memory) -> Result<Stopped, Error> {
        let Some((detour, base)) = &self.detour else {
            task.break_at(None)?;
            return Ok(task);
        };
        let registers = self.registers(&task, memory)?;
        memory.write(self.site, &detour.displaced)?;
        task.set_registers(&registers)?;
        Ok(apart(task, libc::SYS_munmap as u64, [*base, ROOM, 0, 0, 0, 0])?.0)
    }
}

/// Finds free memory for a detour, as near to `site` as a jump reaches, and away from mappings that may grow.
fn hole(lines: &[Line], site: u64) -> Option<u64> {
    const REACH: u64 = (2 << 30) - (1 << 20);
    /// Smaller gaps are left alone.
    const LEAST: u64 = 1 << 20;
    const LOWEST: u64 = 1 << 16;
    let mut gaps: Vec<Range<u64>> = Vec::new();
    let mut end = LOWEST;
    for line in lines {
        let stack = line.path.as_os_str() == "[stack]";
        if !stack && line.start.saturating_sub(end) > LEAST {
            gaps.push(end..line.start);
        }
        end = end.max(line.end);
    }
    let places = gaps.into_iter().map(|gap| gap.end - LEAST / 2 - ROOM);
    places.filter(|place| place.abs_diff(site) < REACH).min_by_key(|place| place.abs_diff(site))
}
