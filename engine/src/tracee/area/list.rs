//! The list of calls that a driven process makes in a single stop, and the code that makes them.

use rrtest_preload::layout::SYS_INJECTED;

/// Words of a call in the list: number, later replaced by the result; arguments; addresses for copies of the result.
pub(in crate::tracee) const WORDS: usize = 9;

/// Index of the first argument.
pub(in crate::tracee) const ARGS: usize = 1;

/// Indices of the addresses for copies of the result.
pub(in crate::tracee) const COPIES: [usize; 2] = [7, 8];

/// Bytes of a path that a call can bring along: room for `/proc/PID/fd/NUMBER`. A power of two, so that a filter can
/// tell the beginning of a path from its middle.
pub(in crate::tracee) const PATH: usize = 32;

/// Bytes of a call in the list.
pub(in crate::tracee) const CALL: usize = WORDS * 8;

/// The code that makes the calls of a list: r12 is the address of the next call, r13 the number of calls left.
pub(super) const CODE: [u8; 72] = {
    let n = (SYS_INJECTED as u32).to_le_bytes();
    [
        0x49, 0x8b, 0x04, 0x24, // mov rax, [r12]
        0x49, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [r12 + 8]
        0x49, 0x8b, 0x74, 0x24, 0x10, // mov rsi, [r12 + 16]
        0x49, 0x8b, 0x54, 0x24, 0x18, // mov rdx, [r12 + 24]
        0x4d, 0x8b, 0x54, 0x24, 0x20, // mov r10, [r12 + 32]
        0x4d, 0x8b, 0x44, 0x24, 0x28, // mov r8, [r12 + 40]
        0x4d, 0x8b, 0x4c, 0x24, 0x30, // mov r9, [r12 + 48]
        0x0f, 0x05, // syscall
        0x49, 0x89, 0x04, 0x24, // mov [r12], rax
        0x49, 0x8b, 0x4c, 0x24, 0x38, // mov rcx, [r12 + 56]
        0x48, 0x89, 0x01, // mov [rcx], rax
        0x49, 0x8b, 0x4c, 0x24, 0x40, // mov rcx, [r12 + 64]
        0x48, 0x89, 0x01, // mov [rcx], rax
        0x49, 0x83, 0xc4, CALL as u8, // add r12, CALL
        0x49, 0xff, 0xcd, // dec r13
        0x75, 0xbf, // jnz to the start
        0xb8, n[0], n[1], n[2], n[3], // mov eax, SYS_INJECTED
        0x0f, 0x05, // syscall
    ]
};

/// Offset in the code just after the `syscall` instruction that makes the calls.
pub(super) const CALLED: u64 = 36;

#[cfg(test)]
mod tests {
    use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

    use super::*;
    use crate::tracee::area::Area;

    fn assembled(base: u64, instructions: &[Instruction]) -> Vec<u8> {
        let mut encoder = Encoder::new(64);
        let mut at = base;
        for instruction in instructions {
            at += encoder.encode(instruction, at).unwrap() as u64;
        }
        encoder.take_buffer()
    }

    /// The constants are what an assembler makes of the instructions beside them.
    #[test]
    fn the_code_is_as_it_is_told() {
        const ARGUMENTS: [Register; 6] =
            [Register::RDI, Register::RSI, Register::RDX, Register::R10, Register::R8, Register::R9];
        let word = |at: usize| match at {
            0 => MemoryOperand::with_base(Register::R12),
            _ => MemoryOperand::with_base_displ(Register::R12, at as i64 * 8),
        };
        let fetch = |register, at| Instruction::with2(Code::Mov_r64_rm64, register, word(at)).unwrap();
        let number = Instruction::with2(Code::Mov_r32_imm32, Register::EAX, SYS_INJECTED as u32).unwrap();
        let syscall = Instruction::with(Code::Syscall);
        let mut list = vec![fetch(Register::RAX, 0)];
        list.extend((ARGS..).zip(ARGUMENTS).map(|(at, register)| fetch(register, at)));
        list.push(syscall);
        let called = assembled(Area::BATCH, &list).len() as u64;
        list.push(Instruction::with2(Code::Mov_rm64_r64, word(0), Register::RAX).unwrap());
        for copy in COPIES {
            let there = MemoryOperand::with_base(Register::RCX);
            list.push(fetch(Register::RCX, copy));
            list.push(Instruction::with2(Code::Mov_rm64_r64, there, Register::RAX).unwrap());
        }
        list.push(Instruction::with2(Code::Add_rm64_imm8, Register::R12, CALL as i32).unwrap());
        list.push(Instruction::with1(Code::Dec_rm64, Register::R13).unwrap());
        list.push(Instruction::with_branch(Code::Jne_rel8_64, Area::BATCH).unwrap());
        list.extend([number, syscall]);
        assert_eq!((assembled(Area::BATCH, &list), called), (CODE.to_vec(), CALLED));

        let keep = Instruction::with2(Code::Mov_rm64_r64, Register::RDI, Register::RAX).unwrap();
        assert_eq!(assembled(Area::CODE, &[syscall, keep, number, syscall]), Area::INJECTION);
    }
}
