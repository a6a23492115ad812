//! Plans how an instruction that reads what the program cannot determine is moved to a stub, which has the buffer's
//! code read it (`rrtest_preload::reads`).
//!
//! A jump of seven bytes leads to the stub, as from a system call (see [`super::patch`]); the instruction has two to
//! five. Other instructions that the jump overwrites are moved along: those that follow, or, where that is not
//! possible, those that precede. No register is free, unlike after a `syscall`: relative addresses are replaced by a
//! register whose value is kept in memory meanwhile.
//!
//! Everything here is planning: nothing is written, and no process is needed.

use std::mem::offset_of;

use iced_x86::{Code as Opcode, Decoder, DecoderOptions, Instruction, Mnemonic, Register};
use rrtest_preload::layout::{AREA, READ, STACK, Shared};
use rrtest_preload::reads::What;

use super::assembler::low;
use super::branches::Code;
use super::patch::{ALIGNED, JUMP, Refused, Window, decode, ends, jump_to, movable};
use super::read_sites::what;
use super::stub::{Spare, Writer, relative};

/// What replaces an instruction and its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedRead {
    /// Address of the first replaced instruction.
    pub site: u64,
    /// The bytes to write there.
    pub new: Vec<u8>,
    /// The stub, for the address for which it was planned.
    pub stub: Vec<u8>,
    /// Which places in the stub stand for which in the program's code: offset in the stub, offset from the site.
    pub places: Vec<(u8, i64)>,
}

/// Preceding instructions that may be moved along.
const BEFORE: usize = JUMP;

/// Plans the replacement of the instruction at `site`, in the function that begins at `function`. Both are in the
/// window.
///
/// # Errors
/// If it cannot be replaced.
pub fn plan_read(
    window: &Window,
    function: u64,
    site: u64,
    what: What,
    stub: u64,
) -> Result<MovedRead, Refused> {
    let instructions = up_to(window, function, site)?;
    let mut why = Refused::NoRoom;
    for start in (0..instructions.len()).rev().take(BEFORE + 1) {
        match plan_from(window, &instructions[start..], site, what, stub) {
            Ok(moved) => return Ok(moved),
            Err(refused) => why = refused,
        }
    }
    Err(why)
}

/// Decodes the instructions of a function up to the one at `site`.
fn up_to(window: &Window, function: u64, site: u64) -> Result<Vec<Instruction>, Refused> {
    let code = function.checked_sub(window.address).and_then(|offset| window.bytes.get(offset as usize..));
    let mut decoder = Decoder::with_ip(64, code.ok_or(Refused::WindowEnds)?, function, DecoderOptions::NONE);
    let mut instructions = Vec::new();
    while decoder.ip() <= site {
        instructions.push(decode(&mut decoder)?);
    }
    match instructions.last() {
        Some(last) if last.ip() == site && what(last).is_some() => Ok(instructions),
        _ => Err(Refused::NoRead),
    }
}

/// Plans to replace these instructions, the last of which is the read, and as many of the following ones as necessary.
fn plan_from(
    window: &Window,
    instructions: &[Instruction],
    site: u64,
    what: What,
    stub: u64,
) -> Result<MovedRead, Refused> {
    let mut moved = instructions.to_vec();
    let (Some(first), Some(last)) = (moved.first().map(Instruction::ip), moved.last()) else {
        return Err(Refused::NoRead);
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
    if moved.iter().enumerate().any(|(at, it)| it.ip() != site && !movable(it, at + 1 == count)) {
        return Err(Refused::Immovable);
    }
    if (Code { bytes: window.bytes, start: window.address, known: first }).leads_into(&(first + 1..end)) {
        return Err(Refused::BranchedTo);
    }
    let mut writer = Writer::at(stub, READ as u64)?;
    writer.asm.bytes(&(stub + ENTRY).to_le_bytes());
    for instruction in &moved {
        if instruction.ip() == site {
            writer.place(site);
            read(&mut writer, what)?;
        } else {
            writer.relocate(instruction, window.of(instruction), Spare::Memory)?;
        }
    }
    if moved.last().is_none_or(|last| !ends(last)) {
        writer.jump(end)?;
    }
    let (stub_code, places) = writer.finish()?;
    let places = relative(&places, stub, first);
    Ok(MovedRead { site: first, new: jump_to(stub, len)?, stub: stub_code, places })
}

/// Offset in a stub of its code. The word before it holds the code's address, for the jump.
const ENTRY: u64 = 8;

/// Emits code that has the buffer's code read, on its own stack.
fn read(writer: &mut Writer, what: What) -> Result<(), Refused> {
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
    fn planned(code: &[u8]) -> Result<MovedRead, Refused> {
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
        assert_eq!(planned(&[0xb8, 0x0f, 0x31, 0, 0, 0x90, 0x90]), Err(Refused::NoRead));
    }
}
