//! Instructions of the program that are moved to stubs, where code of ours does more than they do, or does it instead.
//!
//! Some read what the program cannot determine: the buffer's code reads it and logs it ([`read_sites`] finds them,
//! [`reads`] plans their stubs). Others are the atomic operations of code that was not compiled with ticks: each becomes
//! a tick, followed by the operation ([`tick_sites`], [`ticks`]). All are moved as soon as their file is mapped, before
//! anybody has executed them.
//!
//! A jump of seven bytes leads to the stub, as from a system call (see [`super::patch`]). Other instructions that the
//! jump overwrites are moved along: those that follow, or, where that is not possible, those that precede. No register
//! is free, unlike after a `syscall`: relative addresses are replaced by a register whose value is kept in memory
//! meanwhile.
//!
//! Everything here is planning: nothing is written, and no process is needed.

pub(super) mod functions;
pub(super) mod read_sites;
pub(super) mod reads;
pub(super) mod tick_sites;
pub(super) mod ticks;

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use super::patch::{ALIGNED, JUMP, Refused, Window, decode, ends, jump_to, movable};
use super::stub::{Spare, Writer, relative};

/// What replaces an instruction and its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Address of the first replaced instruction.
    pub site: u64,
    /// The bytes to write there.
    pub new: Vec<u8>,
    /// The stub, for the address for which it was planned.
    pub stub: Vec<u8>,
    /// Which places in the stub stand for which in the program's code: offset in the stub, offset from the site.
    pub places: Vec<(u8, i64)>,
}

impl Moved {
    /// Returns the addresses of what is replaced.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.site..self.site + self.new.len() as u64
    }
}

/// Preceding instructions that may be moved along.
const BEFORE: usize = JUMP;

/// Offset in a stub of its code. The word before it holds the code's address, for the jump.
const ENTRY: u64 = 8;

/// An instruction that is to be moved.
struct Wanted<'a> {
    /// The code around it, with its whole function up to there.
    window: &'a Window<'a>,
    /// Where its function begins.
    function: u64,
    /// Its address.
    site: u64,
    /// The stub's address, a multiple of 8.
    stub: u64,
    /// Bytes that it has at most.
    most: usize,
    /// The buffer's code to which the stub leads.
    hook: u64,
    /// Whether a branch may lead to one of these addresses.
    leads_into: &'a dyn Fn(&Range<u64>) -> bool,
}

impl Wanted<'_> {
    /// Plans to replace it by a jump. `emit` writes what stands in an instruction's place, and returns whether it has.
    ///
    /// # Errors
    /// If it cannot be replaced.
    fn plan(
        &self,
        is_it: impl Fn(&Instruction) -> bool,
        emit: impl Fn(&mut Writer, &Instruction) -> Result<bool, Refused>,
    ) -> Result<Moved, Refused> {
        let instructions = self.up_to_it()?;
        match instructions.last() {
            Some(last) if last.ip() == self.site && is_it(last) => {}
            _ => return Err(Refused::OtherInstruction),
        }
        let mut why = Refused::NoRoom;
        for start in (0..instructions.len()).rev().take(BEFORE + 1) {
            match self.plan_from(&instructions[start..], &emit) {
                Ok(moved) => return Ok(moved),
                Err(refused) => why = refused,
            }
        }
        Err(why)
    }

    /// Decodes the instructions of the function up to this one.
    fn up_to_it(&self) -> Result<Vec<Instruction>, Refused> {
        let (window, function) = (self.window, self.function);
        let code =
            function.checked_sub(window.address).and_then(|offset| window.bytes.get(offset as usize..));
        let code = code.ok_or(Refused::WindowEnds)?;
        let mut decoder = Decoder::with_ip(64, code, function, DecoderOptions::NONE);
        let mut instructions = Vec::new();
        while decoder.ip() <= self.site {
            instructions.push(decode(&mut decoder)?);
        }
        Ok(instructions)
    }

    /// Plans to replace these instructions, the last of which is this one, and as many of the following ones as
    /// necessary.
    fn plan_from(
        &self,
        instructions: &[Instruction],
        emit: &impl Fn(&mut Writer, &Instruction) -> Result<bool, Refused>,
    ) -> Result<Moved, Refused> {
        let window = self.window;
        let mut moved = instructions.to_vec();
        let (Some(first), Some(last)) = (moved.first().map(Instruction::ip), moved.last()) else {
            return Err(Refused::OtherInstruction);
        };
        let behind = (last.next_ip() - window.address) as usize;
        let mut decoder = Decoder::with_ip(
            64,
            window.bytes.get(behind..).unwrap_or_default(),
            last.next_ip(),
            DecoderOptions::NONE,
        );
        let mut len = (last.next_ip() - first) as usize;
        let mut ended = moved.iter().any(ends);
        while len < JUMP && !ended {
            let instruction = decode(&mut decoder)?;
            len += instruction.len();
            moved.push(instruction);
            ended = ends(&instruction);
        }
        while len < JUMP {
            // Padding after the end of a function, up to an aligned address.
            let padding = decode(&mut decoder)?;
            if padding.ip() % ALIGNED == 0 || !matches!(padding.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
                return Err(Refused::NoRoom);
            }
            len += padding.len();
        }
        let end = first + len as u64;
        let count = moved.len();
        if moved.iter().enumerate().any(|(at, it)| it.ip() != self.site && !movable(it, at + 1 == count)) {
            return Err(Refused::Immovable);
        }
        // Nobody branches into the middle of an instruction.
        if count > 1 && (self.leads_into)(&(first + 1..end)) {
            return Err(Refused::BranchedTo);
        }
        let mut writer = Writer::at(self.stub, self.hook)?;
        writer.asm.bytes(&(self.stub + ENTRY).to_le_bytes());
        for instruction in &moved {
            writer.place(instruction.ip());
            if !emit(&mut writer, instruction)? {
                writer.relocate(instruction, window.of(instruction), Spare::Memory)?;
            }
        }
        if moved.last().is_none_or(|last| !ends(last)) {
            writer.jump(end)?;
        }
        let (stub, places) = writer.finish(self.most)?;
        let places = relative(&places, self.stub, first);
        Ok(Moved { site: first, new: jump_to(self.stub, len)?, stub, places })
    }
}
