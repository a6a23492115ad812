//! Writes stubs: code that does at another address what instructions of the program do.
//!
//! A stub is far from the program's code: relative addresses are replaced by a register.

use std::mem::offset_of;

use iced_x86::{Code as Opcode, ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Register};
use rrtest_preload::layout::{AREA, Shared};

use super::assembler::Assembler;
use super::patch::{Refused, STUB_LEN};

/// Length of a jump to anywhere.
const FAR_JUMP: u8 = 14;

/// Address of [`Shared::spare`].
const SPARE: u32 = (AREA + offset_of!(Shared, spare)) as u32;

/// The register that replaces an instruction's relative address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spare {
    /// None is available.
    None,
    /// This one is free.
    Register(Register),
    /// None is free: one is saved in memory meanwhile. Only one task runs at a time, and none is preempted within a
    /// stub, so one place serves all.
    Memory,
}

/// Addresses in a stub, with the addresses in the program's code for which they stand.
pub(super) type Places = Vec<(u64, u64)>;

/// The same by their offsets: in the stub, and from the `site` on.
pub(super) fn relative(places: &[(u64, u64)], stub: u64, site: u64) -> Vec<(u8, i64)> {
    let offsets = |(place, original): &(u64, u64)| {
        Some((u8::try_from(place.checked_sub(stub)?).ok()?, original.wrapping_sub(site).cast_signed()))
    };
    places.iter().filter_map(offsets).collect()
}

/// A stub in the making.
pub(super) struct Writer {
    pub(super) asm: Assembler,
    /// See [`Self::finish`].
    places: Places,
}

impl Writer {
    /// Begins a stub for the address `stub`, whose code may refer to `hook`.
    pub(super) fn at(stub: u64, hook: u64) -> Result<Self, Refused> {
        const REACH: u64 = i32::MAX as u64 - STUB_LEN as u64;
        if stub > REACH || hook.abs_diff(stub) > REACH {
            return Err(Refused::OutOfReach);
        }
        Ok(Self { asm: Assembler::at(stub), places: Vec::new() })
    }

    /// Returns the code, and the places in it.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Places), Refused> {
        if self.asm.code.len() > STUB_LEN { Err(Refused::TooLong) } else { Ok((self.asm.code, self.places)) }
    }

    /// Notes that the next instruction stands for the program's instruction at `original`.
    pub(super) fn place(&mut self, original: u64) {
        self.places.push((self.asm.here(), original));
    }

    /// Emits code that does what an instruction of the program does.
    pub(super) fn relocate(
        &mut self,
        instruction: &Instruction,
        bytes: &[u8],
        spare: Spare,
    ) -> Result<(), Refused> {
        self.place(instruction.ip());
        let moves = !instruction.is_ip_rel_memory_operand();
        let (instruction, kept) = self.reach(instruction, spare)?;
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch => self.jump(instruction.near_branch_target()),
            FlowControl::ConditionalBranch => {
                // Skip the jump unless the condition holds.
                let condition = instruction.condition_code() as u8 - ConditionCode::o as u8;
                let unless = 0x70 | condition ^ 1;
                self.asm.emit(&[unless, FAR_JUMP]);
                self.jump(instruction.near_branch_target());
            }
            FlowControl::Call => {
                self.push(instruction.next_ip());
                self.jump(instruction.near_branch_target());
            }
            FlowControl::IndirectCall => {
                self.push(instruction.next_ip());
                let mut jump = instruction;
                jump.set_code(Opcode::Jmp_rm64);
                self.encode(&jump)?;
            }
            // Most instructions are the same anywhere. Encoding needs tables that take half a millisecond to build.
            _ if moves => self.asm.emit(bytes),
            _ => self.encode(&instruction)?,
        }
        if let Some(register) = kept {
            self.access(0x8b, register);
        }
        Ok(())
    }

    fn encode(&mut self, instruction: &Instruction) -> Result<(), Refused> {
        self.asm.encode(instruction).ok_or(Refused::Immovable)
    }

    /// Replaces an instruction's relative address, which is out of reach here, by a register. Also returns the register
    /// that must be restored after it.
    fn reach(
        &mut self,
        instruction: &Instruction,
        spare: Spare,
    ) -> Result<(Instruction, Option<Register>), Refused> {
        let mut instruction = *instruction;
        if !instruction.is_ip_rel_memory_operand() {
            return Ok((instruction, None));
        }
        let (register, kept) = match spare {
            Spare::Register(register) => (register, None),
            Spare::Memory if instruction.flow_control() == FlowControl::Next => {
                let register = unused(&instruction).ok_or(Refused::NoRegister)?;
                self.access(0x89, register);
                (register, Some(register))
            }
            Spare::Memory | Spare::None => return Err(Refused::NoRegister),
        };
        self.asm.load(register.number() as u8, instruction.ip_rel_memory_address());
        if kept.is_none() {
            self.place(instruction.ip());
        }
        instruction.set_memory_base(register);
        instruction.set_memory_displacement64(0);
        instruction.set_memory_displ_size(0);
        Ok((instruction, kept))
    }

    /// Emits mov between a register and [`Shared::spare`].
    fn access(&mut self, opcode: u8, register: Register) {
        let number = register.number() as u8;
        self.asm.emit(&[0x48 | number >> 3 << 2, opcode, 0x04 | (number & 7) << 3, 0x25]);
        self.asm.emit(&SPARE.to_le_bytes());
    }

    /// Emits a jump to anywhere.
    pub(super) fn jump(&mut self, target: u64) {
        self.place(target);
        self.asm.emit(&[0xff, 0x25, 0, 0, 0, 0]); // jmp [rip]
        self.asm.emit(&target.to_le_bytes());
    }

    /// Emits code that pushes an address as a call does.
    fn push(&mut self, address: u64) {
        self.asm.emit(&[0x68]); // push …, which sign-extends
        self.asm.emit(&(address as u32).to_le_bytes());
        self.asm.emit(&[0xc7, 0x44, 0x24, 0x04]); // mov dword ptr [rsp+4], …
        self.asm.emit(&((address >> 32) as u32).to_le_bytes());
    }
}

/// Returns a register that an instruction does not use.
fn unused(instruction: &Instruction) -> Option<Register> {
    let mut info = InstructionInfoFactory::new();
    let used = info.info(instruction).used_registers();
    [Register::RAX, Register::RCX, Register::RDX, Register::RSI, Register::RDI, Register::R11]
        .into_iter()
        .find(|free| !used.iter().any(|used| used.register().full_register() == *free))
}
