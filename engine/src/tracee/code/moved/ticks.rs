//! Plans how an operation of code without compiled-in ticks is moved to a stub, where a tick precedes it.
//!
//! The stub does what compiled-in ticks do (`rrtest_preload::runtime`): it counts down, and at zero names the operation
//! and jumps to the buffer's code, which lets the task stop at the stub's `syscall` instruction. That may take long, and
//! other tasks run meanwhile, so what the tick overwrites is kept on the task's own stack, beyond the red zone (System V
//! ABI, AMD64 supplement, 3.2.2). It is put there at every tick, so that the stack is the same in replay, where fewer
//! ticks get to the buffer's code.

use std::mem::offset_of;
use std::ops::Range;

use iced_x86::{
    Code as Opcode, Instruction, InstructionInfoFactory, MemoryOperand, Mnemonic, OpKind, Register,
};
use rrtest_preload::layout::{AREA, AccessKind, KEPT_AT_TICK, LEFT_ALONE, MOVED_TICK, Shared};

use super::tick_sites::{Tick, TickSites, atomic, computes};
use super::{Moved, Wanted};
use crate::tracee::area::{Area, SYSCALL_LEN};
use crate::tracee::code::assembler::{Assembler, low};
use crate::tracee::code::patch::{Refused, STUB_LEN, Window};
use crate::tracee::code::stub::{Spare, Writer};
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Registers;

/// Returns a word below the red zone that ticks leave alone, where a register's value is kept, or what has been read.
fn kept() -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RSP, -LEFT_ALONE)
}

/// Returns another one, which ticks overwrite.
fn also_kept() -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RSP, -LEFT_ALONE - 8)
}

/// Plans to replace the operation at `site`, in the function that begins at `function`, by a jump to a stub at `stub` (a
/// multiple of 8), which may be as long as two. All of the function up to the site must be in the window. `others` are
/// the operations of the file: those that are moved along tick in the same stub. `offset` returns the offset in the file
/// of an address.
///
/// # Errors
/// If it cannot be replaced.
pub fn plan_tick(
    window: &Window,
    function: u64,
    site: u64,
    tick: Tick,
    others: &TickSites,
    offset: impl Fn(u64) -> u64,
    stub: u64,
) -> Result<Moved, Refused> {
    let leads_into =
        |addresses: &Range<u64>| others.leads_into(&(offset(addresses.start)..offset(addresses.end)));
    let (most, hook) = (2 * STUB_LEN, MOVED_TICK as u64);
    let wanted = Wanted { window, function, site, stub, most, hook, leads_into: &leads_into };
    let is_it = |instruction: &Instruction| {
        instruction.op_kinds().any(|kind| kind == OpKind::Memory)
            || matches!(instruction.mnemonic(), Mnemonic::Mfence | Mnemonic::Pause)
    };
    // The fewer ticks, the shorter the stub.
    let lightly = match tick {
        Tick::Apart => Tick::Before(AccessKind::Store),
        before => before,
    };
    let with = |all: bool, tick: Tick| {
        let of = |address: u64| {
            if address == site { Some(tick) } else { others.at(offset(address)).filter(|_| all) }
        };
        wanted.plan(is_it, |writer, instruction| match of(instruction.ip()) {
            Some(tick) => emit(writer, instruction, window.of(instruction), tick).map(|()| true),
            None => Ok(false),
        })
    };
    with(true, tick).or_else(|_| with(false, tick)).or_else(|_| with(false, lightly))
}

/// Returns the registers that a task has at its operation, if it stands behind the `syscall` instruction of a tick in a
/// stub. The instruction pointer is still in the stub.
#[must_use]
pub fn at_operation(memory: &Memory, registers: &Registers) -> Option<Registers> {
    /// The jump, the kind, the instruction.
    const LEN: usize = 5 + 1 + SYSCALL_LEN as usize;
    let start = registers.ip().checked_sub(LEN as u64).filter(|start| Area::stub_at(*start).is_some())?;
    let [0xe9, a, b, c, d, _, 0x0f, 0x05] = *memory.available(start, LEN).first_chunk::<LEN>()? else {
        return None;
    };
    let behind = registers.ip() - SYSCALL_LEN - 1;
    let target = behind.wrapping_add_signed(i32::from_le_bytes([a, b, c, d]).into());
    if target != MOVED_TICK as u64 {
        return None;
    }
    let [rcx, flags, rax, r11] = [0, 8, 16, 24].map(|at| memory.u64(registers.sp() + at).ok());
    let mut registers = *registers;
    registers.set_general(1, rcx?);
    registers.set_status(flags?);
    registers.set_general(0, rax?);
    registers.set_general(11, r11?);
    registers.set_general(4, registers.sp().wrapping_add_signed(LEFT_ALONE + KEPT_AT_TICK));
    Some(registers)
}

/// Emits an operation that ticks.
fn emit(writer: &mut Writer, instruction: &Instruction, bytes: &[u8], tick: Tick) -> Result<(), Refused> {
    match tick {
        Tick::Before(kind) => emit_before(writer, instruction, bytes, kind),
        Tick::Apart => emit_apart(writer, instruction),
    }
}

/// Emits a tick, followed by the operation.
fn emit_before(
    writer: &mut Writer,
    instruction: &Instruction,
    bytes: &[u8],
    kind: AccessKind,
) -> Result<(), Refused> {
    emit_tick(writer, instruction, kind)?;
    if !instruction.is_ip_rel_memory_operand() {
        return writer.relocate(instruction, bytes, Spare::None);
    }
    if uses(instruction, Register::R11) {
        return Err(Refused::NoRegister);
    }
    let asm = &mut writer.asm;
    asm.store(kept(), Register::R11)?;
    asm.load(Register::R11, instruction.ip_rel_memory_address())?;
    asm.add(Ok(through(instruction, Register::R11)))?;
    asm.fetch(Register::R11, kept())?;
    Ok(())
}

/// Emits an operation that reads memory, computes and writes, as these three steps.
fn emit_apart(writer: &mut Writer, instruction: &Instruction) -> Result<(), Refused> {
    let (load, store, value) = match instruction.memory_size().size() {
        1 => (Opcode::Mov_r8_rm8, Opcode::Mov_rm8_r8, Register::R11L),
        2 => (Opcode::Mov_r16_rm16, Opcode::Mov_rm16_r16, Register::R11W),
        4 => (Opcode::Mov_r32_rm32, Opcode::Mov_rm32_r32, Register::R11D),
        8 => (Opcode::Mov_r64_rm64, Opcode::Mov_rm64_r64, Register::R11),
        _ => return Err(Refused::Immovable),
    };
    let other = if instruction.op_count() > 1 { instruction.op1_register() } else { Register::None };
    // What is in the second byte of a register cannot be computed with r11.
    let is_high = matches!(other, Register::AH | Register::BH | Register::CH | Register::DH);
    if !computes(instruction) || is_high || uses(instruction, Register::R11) {
        return Err(Refused::NoRegister);
    }
    let far = instruction.is_ip_rel_memory_operand();
    let place = |register: Register| {
        if far { MemoryOperand::with_base(register) } else { accessed(instruction, 0) }
    };
    emit_tick(writer, instruction, AccessKind::Load)?;
    writer.place(instruction.ip());
    let asm = &mut writer.asm;
    asm.store(kept(), Register::R11)?;
    if far {
        asm.load(Register::R11, instruction.ip_rel_memory_address())?;
    }
    asm.add(Instruction::with2(load, value, place(Register::R11)))?;
    asm.add(Instruction::with2(Opcode::Xchg_rm64_r64, kept(), Register::R11))?;
    emit_tick(writer, instruction, AccessKind::Store)?;
    let asm = &mut writer.asm;
    asm.add(Instruction::with2(Opcode::Xchg_rm64_r64, kept(), Register::R11))?;
    let mut computed = *instruction;
    computed.set_op0_kind(OpKind::Register);
    computed.set_op0_register(value);
    asm.add(Ok(computed))?;
    if far {
        asm.store(also_kept(), Register::RCX)?;
        asm.load(Register::RCX, instruction.ip_rel_memory_address())?;
    }
    asm.add(Instruction::with2(store, place(Register::RCX), value))?;
    if far {
        asm.fetch(Register::RCX, also_kept())?;
    }
    asm.fetch(Register::R11, kept())?;
    Ok(())
}

/// Emits a tick in front of an operation.
fn emit_tick(writer: &mut Writer, instruction: &Instruction, kind: AccessKind) -> Result<(), Refused> {
    const COUNTDOWN: u64 = (AREA + offset_of!(Shared, countdown)) as u64;
    let asm = &mut writer.asm;
    move_stack(asm, -LEFT_ALONE)?;
    asm.push(Register::R11)?;
    asm.push(Register::RAX)?;
    // The flags, as far as such operations overwrite them.
    asm.plain(Opcode::Lahf)?;
    asm.add(Instruction::with1(Opcode::Seto_rm8, Register::AL))?;
    asm.push(Register::RAX)?;
    asm.push(Register::RCX)?;
    asm.add(Instruction::with1(Opcode::Dec_rm64, low(COUNTDOWN)))?;
    let goes_on = asm.forward(Opcode::Jne_rel8_64)?;
    address(asm, instruction)?;
    /// Lengths of the two instructions before the kind.
    const LOAD: u64 = 5;
    const JUMP: u64 = 5;
    let call = asm.here() + LOAD + JUMP + 1;
    asm.add(Instruction::with2(Opcode::Mov_r32_imm32, Register::ECX, call as u32))?;
    asm.branch(Opcode::Jmp_rel32_64, MOVED_TICK as u64)?;
    asm.bytes(&[kind as u8]);
    debug_assert_eq!(asm.here(), call);
    asm.plain(Opcode::Syscall)?;
    writer.place(instruction.ip());
    let asm = &mut writer.asm;
    if !asm.land(goes_on) {
        return Err(Refused::TooLong);
    }
    asm.pop(Register::RCX)?;
    asm.pop(Register::RAX)?;
    // Restores the overflow flag, then the others.
    asm.add(Instruction::with2(Opcode::Add_AL_imm8, Register::AL, 127))?;
    asm.plain(Opcode::Sahf)?;
    asm.pop(Register::RAX)?;
    asm.pop(Register::R11)?;
    move_stack(asm, LEFT_ALONE)
}

/// Moves the stack pointer without changing the flags.
fn move_stack(asm: &mut Assembler, by: i64) -> Result<(), Refused> {
    let moved = MemoryOperand::with_base_displ(Register::RSP, by);
    Ok(asm.add(Instruction::with2(Opcode::Lea_r64_m, Register::RSP, moved))?)
}

/// Emits code that loads rax with the address that an instruction accesses, with what the tick keeps on the stack; 0
/// for none.
fn address(asm: &mut Assembler, instruction: &Instruction) -> Result<(), Refused> {
    /// Where the program's rax is.
    const RAX: i64 = 16;
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    let of_thread = matches!(instruction.segment_prefix(), Register::FS | Register::GS);
    if atomic(instruction) == Some(AccessKind::Fence) || of_thread {
        return Ok(asm.add(Instruction::with2(Opcode::Xor_r32_rm32, Register::EAX, Register::EAX))?);
    }
    if instruction.is_ip_rel_memory_operand() || base == Register::None && index == Register::None {
        return Ok(asm.load(Register::RAX, instruction.memory_displacement64())?);
    }
    if uses(instruction, Register::RAX) {
        asm.fetch(Register::RAX, MemoryOperand::with_base_displ(Register::RSP, RAX))?;
    }
    let below = if base == Register::RSP { LEFT_ALONE + KEPT_AT_TICK } else { 0 };
    Ok(asm.add(Instruction::with2(Opcode::Lea_r64_m, Register::RAX, accessed(instruction, below)))?)
}

/// Returns the memory that an instruction accesses, which is not relative to where it stands, `further` by some bytes.
fn accessed(instruction: &Instruction, further: i64) -> MemoryOperand {
    let displacement = instruction.memory_displacement64().cast_signed().wrapping_add(further);
    let base = instruction.memory_base();
    // Without a base there is always a displacement.
    let size = if base == Register::None { 8 } else { u32::from(displacement != 0) };
    let (index, scale) = (instruction.memory_index(), instruction.memory_index_scale());
    MemoryOperand::new(base, index, scale, displacement, size, false, Register::None)
}

/// Returns an instruction that accesses by a register what this one accesses relative to where it stands.
fn through(instruction: &Instruction, register: Register) -> Instruction {
    let mut instruction = *instruction;
    instruction.set_memory_base(register);
    instruction.set_memory_displacement64(0);
    instruction.set_memory_displ_size(0);
    instruction
}

/// Whether an instruction uses a register, or a part of it.
fn uses(instruction: &Instruction, register: Register) -> bool {
    let mut info = InstructionInfoFactory::new();
    info.info(instruction).used_registers().iter().any(|used| used.register().full_register() == register)
}
