//! Plans how an atomic operation of code without compiled-in ticks is moved to a stub, where a tick precedes it.
//!
//! The stub does what compiled-in ticks do (`rrtest_preload::runtime`): it counts down, and at zero names the operation
//! and jumps to the buffer's code, which lets the task stop at the stub's `syscall` instruction. That may take long, and
//! other tasks run meanwhile, so what the tick overwrites is kept on the task's own stack, beyond the red zone (System V
//! ABI, AMD64 supplement, 3.2.2). It is put there at every tick, so that the stack is the same in replay, where fewer
//! ticks get to the buffer's code.

use std::mem::offset_of;

use iced_x86::{Code as Opcode, Instruction, InstructionInfoFactory, MemoryOperand, Register};
use rrtest_preload::layout::{AREA, AccessKind, KEPT_AT_TICK, MOVED_TICK, RED_ZONE, Shared};

use super::tick_sites::operation;
use super::{ENTRY, Moved, Wanted};
use crate::tracee::area::{Area, SYSCALL_LEN};
use crate::tracee::code::assembler::{Assembler, low};
use crate::tracee::code::patch::{Refused, Window};
use crate::tracee::code::stub::{Spare, Writer};
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Registers;

/// Plans to replace the atomic operation at `site`, in the function that begins at `function`, by a jump to a stub at
/// `stub` (a multiple of 8). All of the function up to the site must be in the window.
///
/// # Errors
/// If it cannot be replaced.
pub fn plan_tick(
    window: &Window,
    function: u64,
    site: u64,
    kind: AccessKind,
    stub: u64,
) -> Result<Moved, Refused> {
    let wanted = Wanted { window, function, site, stub, hook: MOVED_TICK as u64 };
    let emit = |writer: &mut Writer, instruction: &Instruction| {
        emit(writer, instruction, window.of(instruction), kind)
    };
    wanted.plan(|instruction| operation(instruction).is_some(), emit)
}

/// Returns the registers that a task has at its operation, if it stands behind the `syscall` instruction of a tick in a
/// stub. The instruction pointer is still in the stub.
#[must_use]
pub fn at_operation(memory: &Memory, registers: &Registers) -> Option<Registers> {
    /// The jump, the kind, the instruction.
    const LEN: usize = 5 + 1 + SYSCALL_LEN as usize;
    let stub = Area::stub_at(registers.ip()).and_then(Area::stub)?;
    let start = registers.ip().checked_sub(LEN as u64).filter(|start| *start >= stub + ENTRY)?;
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
    registers.set_general(4, registers.sp().wrapping_add_signed(RED_ZONE + KEPT_AT_TICK));
    Some(registers)
}

/// Emits a tick, followed by the operation.
fn emit(
    writer: &mut Writer,
    instruction: &Instruction,
    bytes: &[u8],
    kind: AccessKind,
) -> Result<(), Refused> {
    const COUNTDOWN: u64 = (AREA + offset_of!(Shared, countdown)) as u64;
    let asm = &mut writer.asm;
    move_stack(asm, -RED_ZONE)?;
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
    if instruction.is_ip_rel_memory_operand() {
        let mut instruction = *instruction;
        if uses(&instruction, Register::R11) || uses(&instruction, Register::RSP) {
            return Err(Refused::NoRegister);
        }
        asm.load(Register::R11, instruction.ip_rel_memory_address())?;
        instruction.set_memory_base(Register::R11);
        instruction.set_memory_displacement64(0);
        instruction.set_memory_displ_size(0);
        asm.add(Ok(instruction))?;
        asm.pop(Register::R11)?;
        move_stack(asm, RED_ZONE)
    } else {
        asm.pop(Register::R11)?;
        move_stack(asm, RED_ZONE)?;
        writer.relocate(instruction, bytes, Spare::None)
    }
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
    if operation(instruction) == Some(AccessKind::Fence) || of_thread {
        return Ok(asm.add(Instruction::with2(Opcode::Xor_r32_rm32, Register::EAX, Register::EAX))?);
    }
    if instruction.is_ip_rel_memory_operand() || base == Register::None && index == Register::None {
        return Ok(asm.load(Register::RAX, instruction.memory_displacement64())?);
    }
    if uses(instruction, Register::RAX) {
        asm.fetch(Register::RAX, MemoryOperand::with_base_displ(Register::RSP, RAX))?;
    }
    let mut displacement = instruction.memory_displacement64().cast_signed();
    if base == Register::RSP {
        displacement = displacement.wrapping_add(RED_ZONE + KEPT_AT_TICK);
    }
    let accessed = MemoryOperand::new(
        base,
        index,
        instruction.memory_index_scale(),
        displacement,
        u32::from(displacement != 0),
        false,
        Register::None,
    );
    Ok(asm.add(Instruction::with2(Opcode::Lea_r64_m, Register::RAX, accessed))?)
}

/// Whether an instruction uses a register, or a part of it.
fn uses(instruction: &Instruction, register: Register) -> bool {
    let mut info = InstructionInfoFactory::new();
    info.info(instruction).used_registers().iter().any(|used| used.register().full_register() == register)
}
