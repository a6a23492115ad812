//! The value that an atomic exchange has found in memory.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Registers;

/// Returns what the instruction that ends at the instruction pointer has found in the four bytes at `address`, if it is
/// a locked compare-exchange or an exchange. Such an instruction leaves the value in the accumulator, or in its
/// register (Intel SDM, volume 2).
#[must_use]
pub fn exchanged(memory: &Memory, registers: &Registers, address: u64) -> Option<u32> {
    /// Length of the longest instruction.
    const LONGEST: u64 = 15;
    let start = registers.ip().checked_sub(LONGEST)?;
    let bytes = memory.bytes(start, LONGEST as usize).ok()?;
    // The instruction's start is not known: it is any instruction that ends here and has this address.
    (0..bytes.len()).rev().find_map(|at| {
        let mut decoder = Decoder::with_ip(64, &bytes[at..], start + at as u64, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let ends_here = !instruction.is_invalid() && instruction.next_ip() == registers.ip();
        let is_there = ends_here
            && instruction.op0_kind() == OpKind::Memory
            && instruction.memory_size().size() == size_of::<u32>()
            && instruction.virtual_address(0, 0, |register, _, _| value_of(registers, register))
                == Some(address);
        if is_there { left(&instruction, registers) } else { None }
    })
}

/// Returns what the instruction has left in its register.
fn left(instruction: &Instruction, registers: &Registers) -> Option<u32> {
    let register = match instruction.mnemonic() {
        Mnemonic::Cmpxchg if instruction.has_lock_prefix() => Register::EAX,
        Mnemonic::Xchg => instruction.op1_register(),
        _ => return None,
    };
    value_of(registers, register).map(|value| value as u32)
}

/// Returns the value of a general register, or the base of a segment.
fn value_of(registers: &Registers, register: Register) -> Option<u64> {
    match register {
        Register::CS | Register::DS | Register::ES | Register::SS => Some(0),
        _ if register.is_gpr() => Some(registers.general(register.number())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;

    /// Registers after this code, with these values of rdi and rax.
    fn behind(code: &[u8], rdi: u64, rax: u64) -> Registers {
        let mut registers = Registers([0; 27]);
        registers.set_ip(code.as_ptr_range().end.addr() as u64);
        registers.set_args([rdi, 0, 0, 0, 0, 0]);
        registers.set_result(rax as i64);
        registers
    }

    #[test]
    fn exchanges_tell_what_they_found() {
        let memory = Memory::open(Pid::this()).unwrap();
        // Preceded by meaningless code, as memory is read from there.
        let code = |bytes: &[u8]| [&[0x90; 16][..], bytes].concat();
        let found = |bytes: &[u8], address| {
            let code = code(bytes);
            exchanged(&memory, &behind(&code, 0x1000, 7), address)
        };
        let (compare, exchange) = ([0xf0, 0x0f, 0xb1, 0x4f, 0x08], [0x87, 0x47, 0x08]);
        assert_eq!(found(&compare, 0x1008), Some(7), "lock cmpxchg [rdi + 8], ecx");
        assert_eq!(found(&exchange, 0x1008), Some(7), "xchg [rdi + 8], eax");
        assert_eq!(found(&exchange, 0x1000), None, "elsewhere");
        assert_eq!(found(&[0x89, 0x47, 0x08], 0x1008), None, "mov [rdi + 8], eax");
        assert_eq!(found(&[0xf3, 0xaa], 0x1000), None, "rep stosb");
    }
}
