//! Plans how an instruction that reads what the program cannot determine is moved to a stub, which has the buffer's
//! code read it (`rrtest_preload::reads`).

use std::mem::offset_of;
use std::ops::Range;

use iced_x86::{Code as Opcode, Instruction, Register};
use rrtest_preload::layout::{AREA, READ, STACK, Shared};
use rrtest_preload::reads::What;

use super::read_sites::what;
use super::{Moved, Wanted};
use crate::tracee::code::assembler::low;
use crate::tracee::code::branches::Code;
use crate::tracee::code::patch::{Refused, STUB_LEN, Window};
use crate::tracee::code::stub::Writer;

/// Plans the replacement of the instruction at `site`, in the function that begins at `function`, by a jump to a stub
/// at `stub` (a multiple of 8). All of the function up to the site must be in the window.
///
/// # Errors
/// If it cannot be replaced.
pub fn plan_read(window: &Window, function: u64, site: u64, read: What, stub: u64) -> Result<Moved, Refused> {
    let code = Code { bytes: window.bytes, start: window.address, known: site };
    let leads_into = |addresses: &Range<u64>| code.leads_into(addresses);
    let wanted =
        Wanted { window, function, site, stub, most: STUB_LEN, hook: READ as u64, leads_into: &leads_into };
    let emit = |writer: &mut Writer, instruction: &Instruction| match instruction.ip() == site {
        true => emit(writer, read).map(|()| true),
        false => Ok(false),
    };
    wanted.plan(|instruction| what(instruction).is_some(), emit)
}

/// Emits code that has the buffer's code read, on its own stack.
fn emit(writer: &mut Writer, what: What) -> Result<(), Refused> {
    const READER: u64 = (AREA + offset_of!(Shared, reader)) as u64;
    let asm = &mut writer.asm;
    asm.store(low(READER), Register::RSP)?;
    asm.add(Instruction::with2(Opcode::Mov_r32_imm32, Register::ESP, STACK as u32))?;
    asm.add(Instruction::with1(Opcode::Pushq_imm32, what.word().cast_signed()))?;
    asm.add(Instruction::with1(Opcode::Call_rm64, low(READ as u64)))?;
    asm.fetch(Register::RSP, low(READER))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_preload::reads::Read;

    const START: u64 = 0x7fff_f7c0_0000;
    const STUB: u64 = 0x7012_3480;
    const RDTSC: What = What { read: Read::Counter, register: 0, bytes: 8, linker: false };

    /// Plans a move for some code whose first `0f 31` is the site.
    fn planned(code: &[u8]) -> Result<Moved, Refused> {
        let at = code.windows(2).position(|pair| pair == [0x0f, 0x31]).unwrap();
        plan_read(&Window { address: START, bytes: code }, START, START + at as u64, RDTSC, STUB)
    }

    #[test]
    fn what_follows_is_moved_along_or_what_precedes() {
        // nop; rdtsc; shl rdx, 32; or rax, rdx; ret
        let moved = planned(&[0x90, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3]).unwrap();
        assert_eq!((moved.site, moved.new.len()), (START + 1, 9));
        assert_eq!(moved.new, [0xff, 0x24, 0x25, 0x80, 0x34, 0x12, 0x70, 0xcc, 0xcc]);
        assert!(moved.stub.windows(7).any(|it| it == [0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0]));
        // mov rsi, rdi; mov ecx, 7; rdtsc; syscall, which cannot be moved.
        let moved = planned(&[0x48, 0x89, 0xfe, 0xb9, 7, 0, 0, 0, 0x0f, 0x31, 0x0f, 0x05, 0xc3]).unwrap();
        assert_eq!((moved.site, moved.new.len()), (START + 3, 7));
        assert_eq!(moved.stub[8..13], [0xb9, 7, 0, 0, 0]);
        // rdtsc; ret; padding
        let mut code = vec![0x0f, 0x31, 0xc3];
        code.resize(16, 0x90);
        code.push(0x55);
        assert_eq!(planned(&code).unwrap().new.len(), 7);
    }

    #[test]
    fn what_is_addressed_from_there_is_addressed_by_a_kept_register() {
        // rdtsc; mov [rip+0x100], rax; ret
        let moved = planned(&[0x0f, 0x31, 0x48, 0x89, 0x05, 0, 1, 0, 0, 0xc3, 0x90]).unwrap();
        // rcx is saved, and holds the address.
        let kept = moved.stub.windows(4).filter(|it| matches!(it, [0x48, 0x89 | 0x8b, 0x0c, 0x25])).count();
        assert_eq!(kept, 2);
        assert!(moved.stub.windows(3).any(|it| it == [0x48, 0x89, 0x01]));
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        // syscall; rdtsc; syscall
        assert_eq!(planned(&[0x0f, 0x05, 0x0f, 0x31, 0x0f, 0x05, 0x90]), Err(Refused::Immovable));
        // rdtsc; nop; inc eax; jne to the nop; ret
        let looping = [0x0f, 0x31, 0x90, 0xff, 0xc0, 0x75, 0xfc, 0xc3, 0x55, 0x55];
        assert_eq!(planned(&looping), Err(Refused::BranchedTo));
        // The decoder does not reach it: mov eax, 0x310f
        assert_eq!(planned(&[0xb8, 0x0f, 0x31, 0, 0, 0x90, 0x90]), Err(Refused::OtherInstruction));
    }
}
