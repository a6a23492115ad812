//! Writes stubs: code that does at another address what instructions of the program do.
//!
//! A stub is far from the program's code: relative addresses are replaced by a register.

use std::mem::offset_of;

use iced_x86::{
    Code as Opcode, FlowControl, IcedError, Instruction, InstructionInfoFactory, MemoryOperand, Register,
};
use rrtest_preload::layout::{AREA, Shared};

use super::assembler::{Assembler, low, near};
use super::patch::{Refused, STUB_LEN};

/// Length of a jump to anywhere, and of a short one.
const FAR_JUMP: u64 = 14;
const SHORT_JUMP: u64 = 2;

/// Address of [`Shared::spare`].
const SPARE: u64 = (AREA + offset_of!(Shared, spare)) as u64;

/// A stub's own instructions exist, but what they refer to may be far away.
impl From<IcedError> for Refused {
    fn from(_: IcedError) -> Self {
        Self::OutOfReach
    }
}

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
        const REACH: u64 = i32::MAX as u64 - 2 * STUB_LEN as u64;
        if stub > REACH || hook.abs_diff(stub) > REACH {
            return Err(Refused::OutOfReach);
        }
        Ok(Self { asm: Assembler::at(stub), places: Vec::new() })
    }

    /// Returns the code, of at most so many bytes, and the places in it.
    pub(super) fn finish(self, most: usize) -> Result<(Vec<u8>, Places), Refused> {
        if self.asm.code.len() > most { Err(Refused::TooLong) } else { Ok((self.asm.code, self.places)) }
    }

    /// Notes that the next instruction stands for the program's instruction at `original`.
    pub(super) fn place(&mut self, original: u64) {
        let place = (self.asm.here(), original);
        if self.places.last() != Some(&place) {
            self.places.push(place);
        }
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
            FlowControl::UnconditionalBranch => self.jump(instruction.near_branch_target())?,
            FlowControl::ConditionalBranch => {
                // Skip the jump unless the condition holds.
                let mut unless = instruction;
                unless.negate_condition_code();
                unless.as_short_branch();
                self.asm.branch(unless.code(), self.asm.here() + SHORT_JUMP + FAR_JUMP)?;
                self.jump(instruction.near_branch_target())?;
            }
            FlowControl::Call => {
                self.push(instruction.next_ip())?;
                self.jump(instruction.near_branch_target())?;
            }
            FlowControl::IndirectCall => {
                self.push(instruction.next_ip())?;
                let mut jump = instruction;
                jump.set_code(Opcode::Jmp_rm64);
                self.encode(&jump)?;
            }
            // Most instructions are the same anywhere.
            _ if moves => self.asm.bytes(bytes),
            _ => self.encode(&instruction)?,
        }
        if let Some(register) = kept {
            self.asm.fetch(register, low(SPARE))?;
        }
        Ok(())
    }

    fn encode(&mut self, instruction: &Instruction) -> Result<(), Refused> {
        self.asm.add(Ok(*instruction)).map_err(|_| Refused::Immovable)
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
                self.asm.store(low(SPARE), register)?;
                (register, Some(register))
            }
            Spare::Memory | Spare::None => return Err(Refused::NoRegister),
        };
        self.asm.load(register, instruction.ip_rel_memory_address())?;
        if kept.is_none() {
            self.place(instruction.ip());
        }
        instruction.set_memory_base(register);
        instruction.set_memory_displacement64(0);
        instruction.set_memory_displ_size(0);
        Ok((instruction, kept))
    }

    /// Emits a jump to anywhere: the target is in the words behind it.
    pub(super) fn jump(&mut self, target: u64) -> Result<(), Refused> {
        self.place(target);
        let words = self.asm.here() + FAR_JUMP - size_of::<u64>() as u64;
        self.asm.add(Instruction::with1(Opcode::Jmp_rm64, near(words)))?;
        self.asm.bytes(&target.to_le_bytes());
        Ok(())
    }

    /// Emits code that pushes an address as a call does.
    fn push(&mut self, address: u64) -> Result<(), Refused> {
        // It pushes eight bytes, the upper half of which is then set.
        self.asm.add(Instruction::with1(Opcode::Pushq_imm32, address as i32))?;
        let upper = MemoryOperand::with_base_displ(Register::RSP, 4);
        self.asm.add(Instruction::with2(Opcode::Mov_rm32_imm32, upper, (address >> 32) as u32))?;
        Ok(())
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
