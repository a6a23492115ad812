//! Code inside the program that compares registers and memory with given values.
//!
//! A breakpoint that stops a hundred million times before the right moment takes half an hour; a comparison in the
//! process itself takes a nanosecond each time. So an instruction is replaced by a jump to nearby code, which compares
//! registers and memory, traps if all are equal, and otherwise executes what the jump has displaced and returns.
//!
//! A jump takes five bytes. If the instruction is shorter, the following ones are displaced too, provided that no
//! branch in the neighbourhood leads between them. Instructions that cannot be moved are left alone: calls (they push
//! their address), traps, string instructions (they can be interrupted half-way), `loop` and `jrcxz` (they do not reach
//! far).

use std::ops::Range;

use iced_x86::{
    Code as Opcode, Decoder, DecoderOptions, FlowControl, IcedError, Instruction, MemoryOperand, Mnemonic,
    Register,
};

use super::assembler::{Assembler, near};
use super::branches::Code;
use super::breakpoint::Condition;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Registers;
use crate::tracee::system::PAGE;

/// Length of a jump to anywhere within 2 GiB.
const JUMP: usize = 5;

/// Words compared at most: the code must fit its page.
const MOST_WORDS: usize = 32;

/// A displacing jump, and the code to which it leads.
#[derive(Debug)]
pub(super) struct Detour {
    /// The displaced bytes at the site.
    pub(super) displaced: Vec<u8>,
    /// The jump that replaces them.
    pub(super) jump: Vec<u8>,
    /// The code, for the base that it was made for.
    pub(super) code: Vec<u8>,
    site: u64,
    base: u64,
    /// Range of code (offsets) in which rcx is not the program's.
    without_rcx: Range<usize>,
    /// Range of code in which rax is not the program's, and the offset from which the flags are not.
    without_rax: Range<usize>,
    without_flags: usize,
    /// Offset just after the trap.
    trapped: usize,
    /// Offsets of the displaced instructions in the code, with their original addresses.
    moved: Vec<(usize, u64)>,
    /// Code of the displaced instructions, in which all registers are the program's.
    plain: Vec<Range<usize>>,
}

/// Offsets of saved registers from [`data`]. They are not on the code's page, which must stay as the processor has read
/// it.
const RAX_SLOT: u64 = 0;
const RCX_SLOT: u64 = 8;
const FLAGS_SLOT: u64 = 16;
const CONSTANTS: u64 = 24;

/// Number of rcx.
const RCX: u8 = 1;

fn data(base: u64) -> u64 {
    base + PAGE
}

/// Returns the general register with this number.
fn general(number: u8) -> Register {
    Register::RAX + u32::from(number)
}

/// Returns the instructions at `ip` that a jump could replace; with `alone`, only a single one.
pub(super) fn displaceable(memory: &Memory, ip: u64, alone: bool) -> Option<Vec<Instruction>> {
    let bytes = memory.available(ip, 64);
    let mut decoder = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE);
    let mut instructions = Vec::new();
    let mut len = 0;
    let mut passed = true;
    while len < JUMP {
        let instruction = decoder.decode();
        if !passed {
            // Nothing gets here, unless it is code of its own.
            let padding = matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3);
            if !padding {
                return None;
            }
        } else if !movable(&instruction) {
            return None;
        }
        passed &= matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
        len += instruction.len();
        instructions.push(instruction);
        if alone && len < JUMP {
            return None;
        }
    }
    let within = ip + 1..ip + len as u64;
    (instructions.len() == 1 || !branched_to(memory, ip, &within)).then_some(instructions)
}

/// Returns the instruction at `ip`, if it is a string instruction.
pub(super) fn string_instruction(memory: &Memory, ip: u64) -> Option<Instruction> {
    let bytes = memory.available(ip, 16);
    let instruction = Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE).decode();
    instruction.is_string_instruction().then_some(instruction)
}

/// Whether an instruction does the same at another address.
fn movable(instruction: &Instruction) -> bool {
    if instruction.is_invalid() || instruction.is_string_instruction() {
        return false;
    }
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Return | FlowControl::IndirectBranch => true,
        FlowControl::ConditionalBranch => instruction.is_jcc_short_or_near(),
        FlowControl::UnconditionalBranch => instruction.is_jmp_short_or_near(),
        _ => false,
    }
}

/// Whether a branch near `ip` leads to one of these addresses.
fn branched_to(memory: &Memory, ip: u64, addresses: &Range<u64>) -> bool {
    const AROUND: u64 = 4096;
    let mut start = ip.saturating_sub(AROUND);
    let mut bytes = memory.available(start, 2 * AROUND as usize);
    if bytes.is_empty() {
        start = ip;
        bytes = memory.available(ip, AROUND as usize);
    }
    Code { bytes: &bytes, start, known: ip }.leads_into(addresses)
}

impl Detour {
    /// Creates a detour for `instructions` (see [`displaceable`]), with its code at `base`, that traps if the condition
    /// holds. Also returns the constants that it compares with.
    pub(super) fn new(
        memory: &Memory,
        instructions: &[Instruction],
        base: u64,
        condition: &Condition,
    ) -> Option<(Self, Vec<u8>)> {
        let site = condition.registers.ip();
        let len: usize = instructions.iter().map(Instruction::len).sum();
        let displaced = memory.bytes(site, len).ok()?;
        let mut jump = Assembler::at(site);
        jump.branch(Opcode::Jmp_rel32_64, base).ok()?;
        let mut detour = Self {
            displaced,
            jump: jump.code,
            code: Vec::new(),
            site,
            base,
            without_rcx: 0..0,
            without_rax: 0..0,
            without_flags: 0,
            trapped: 0,
            moved: Vec::new(),
            plain: Vec::new(),
        };
        let mut asm = Assembler::at(base);
        let constants = detour.write(&mut asm, instructions, condition).ok()??;
        detour.code = asm.code;
        (detour.code.len() <= PAGE as usize).then_some((detour, constants))
    }

    /// Writes the code. Returns the constants that it compares with; `None` if some part does not reach another.
    fn write(
        &mut self,
        asm: &mut Assembler,
        instructions: &[Instruction],
        Condition { registers, vectors, words, key }: &Condition,
    ) -> Result<Option<Vec<u8>>, IcedError> {
        let base = self.base;
        let slot = |slot| near(data(base) + slot);
        if let Some(key) = key.filter(|key| *key < 16 && *key != RCX) {
            // rcx = key - value, without changing the flags; jump if it is zero.
            asm.store(slot(RCX_SLOT), Register::RCX)?;
            self.without_rcx.start = asm.code.len();
            asm.load(Register::RCX, registers.general(key.into()).wrapping_neg())?;
            let sum = MemoryOperand::with_base_index_scale_displ_size(general(key), Register::RCX, 1, 0, 1);
            asm.add(Instruction::with2(Opcode::Lea_r64_m, Register::RCX, sum))?;
            let equal = asm.forward(Opcode::Jrcxz_rel8_64)?;
            asm.fetch(Register::RCX, slot(RCX_SLOT))?;
            self.displace(asm, instructions)?;
            if !asm.land(equal) {
                return Ok(None);
            }
            asm.fetch(Register::RCX, slot(RCX_SLOT))?;
            self.without_rcx.end = asm.code.len();
        }
        asm.store(slot(RAX_SLOT), Register::RAX)?;
        self.without_rax.start = asm.code.len();
        asm.plain(Opcode::Lahf)?;
        asm.add(Instruction::with1(Opcode::Seto_rm8, Register::AL))?;
        asm.store(slot(FLAGS_SLOT), Register::RAX)?;
        self.without_flags = asm.code.len();
        let mut unequal = Vec::new();
        let mut constants = Vec::new();
        let compare = |asm: &mut Assembler, value: u64, constants: &mut Vec<u8>| {
            let constant = slot(CONSTANTS + constants.len() as u64);
            constants.extend(value.to_le_bytes());
            asm.add(Instruction::with2(Opcode::Cmp_r64_rm64, Register::RAX, constant))?;
            asm.forward(Opcode::Jne_rel32_64)
        };
        for (address, value) in words.iter().take(MOST_WORDS) {
            asm.load(Register::RAX, *address)?;
            asm.fetch(Register::RAX, MemoryOperand::with_base(Register::RAX))?;
            unequal.push(compare(asm, *value, &mut constants)?);
        }
        for number in 0..16 {
            asm.load(Register::RAX, registers.general(number.into()))?;
            asm.add(match general(number) {
                Register::RAX => Instruction::with2(Opcode::Cmp_r64_rm64, Register::RAX, slot(RAX_SLOT)),
                other => Instruction::with2(Opcode::Cmp_rm64_r64, other, Register::RAX),
            })?;
            unequal.push(asm.forward(Opcode::Jne_rel32_64)?);
        }
        for (number, value) in (0_u32..).zip(vectors.low) {
            let vector = Register::XMM0 + number;
            asm.add(Instruction::with2(Opcode::Movq_rm64_xmm, Register::RAX, vector))?;
            unequal.push(compare(asm, value, &mut constants)?);
        }
        asm.plain(Opcode::Int3)?;
        self.trapped = asm.code.len();
        let mut fits = true;
        for jump in unequal {
            fits &= asm.land(jump);
        }
        asm.fetch(Register::RAX, slot(FLAGS_SLOT))?;
        // Restores the overflow flag, then the others.
        asm.add(Instruction::with2(Opcode::Add_AL_imm8, Register::AL, 127))?;
        asm.plain(Opcode::Sahf)?;
        asm.fetch(Register::RAX, slot(RAX_SLOT))?;
        self.without_rax.end = asm.code.len();
        self.displace(asm, instructions)?;
        Ok(fits.then_some(constants))
    }

    /// Emits the displaced instructions and a jump back.
    fn displace(&mut self, asm: &mut Assembler, instructions: &[Instruction]) -> Result<(), IcedError> {
        let start = asm.code.len();
        for instruction in instructions {
            let mut instruction = *instruction;
            self.moved.push((asm.code.len(), instruction.ip()));
            instruction.as_near_branch();
            asm.add(Ok(instruction))?;
        }
        let back = instructions.last().map_or(self.site, Instruction::next_ip);
        self.moved.push((asm.code.len(), back));
        asm.branch(Opcode::Jmp_rel32_64, back)?;
        self.plain.push(start..asm.code.len());
        Ok(())
    }

    /// Returns the address of the constants.
    pub(super) fn constants(&self) -> u64 {
        data(self.base) + CONSTANTS
    }

    /// Whether an instruction pointer after a SIGTRAP means that the trap was hit.
    pub(super) fn trapped(&self, ip: u64) -> bool {
        ip == self.base + self.trapped as u64
    }

    /// Returns the registers that the program would have without the detour.
    pub(super) fn registers(
        &self,
        memory: &Memory,
        mut registers: Registers,
    ) -> Result<Registers, crate::Error> {
        let Some(at) = registers.ip().checked_sub(self.base).map(|at| at as usize) else {
            return Ok(registers);
        };
        if at >= self.code.len() {
            return Ok(registers);
        }
        let slot = |slot| memory.u64(data(self.base) + slot);
        let plain = self.plain.iter().any(|range| range.contains(&at));
        if !plain && self.without_rcx.contains(&at) {
            registers.set_general(1, slot(RCX_SLOT)?);
        }
        if !plain && self.without_rax.contains(&at) {
            registers.set_general(0, slot(RAX_SLOT)?);
            if at >= self.without_flags {
                registers.set_status(slot(FLAGS_SLOT)?);
            }
        }
        let original = self.moved.iter().find(|(moved, _)| *moved == at).map(|(_, original)| *original);
        registers.set_ip(original.unwrap_or(self.site));
        Ok(registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(code: &[u8]) -> Vec<Instruction> {
        Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).iter().collect()
    }

    #[test]
    fn what_depends_on_its_place_stays() {
        for (code, moves) in [
            (&[0x48, 0xff, 0xc0][..], true),      // inc rax
            (&[0xeb, 0xfb], true),                // jmp
            (&[0x0f, 0x84, 0, 1, 0, 0], true),    // je
            (&[0x8b, 0x05, 0x10, 0, 0, 0], true), // mov eax, [rip+16]
            (&[0xe8, 0, 0, 0, 0], false),         // call
            (&[0xf3, 0x48, 0xa5], false),         // rep movsq
            (&[0xe2, 0xfe], false),               // loop
            (&[0x0f, 0x05], false),               // syscall
            (&[0xcc], false),                     // int3
        ] {
            assert_eq!(movable(&decode(code)[0]), moves, "{code:x?}");
        }
    }
}
