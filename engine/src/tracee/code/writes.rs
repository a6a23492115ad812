//! The memory that an instruction is about to write.

use iced_x86::{Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use crate::tracee::ptrace::Registers;

/// Returns what the instruction that begins with these bytes, at the instruction pointer, writes when it is executed
/// with these registers: addresses and lengths. None if that is not certain.
#[must_use]
pub fn writes(code: &[u8], registers: &Registers) -> Option<Vec<(u64, usize)>> {
    let instruction = Decoder::with_ip(64, code, registers.ip(), DecoderOptions::NONE).decode();
    let enters_kernel = matches!(
        instruction.mnemonic(),
        Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Int3 | Mnemonic::Int1
    );
    let leaves = matches!(instruction.flow_control(), FlowControl::Interrupt | FlowControl::Exception);
    if instruction.is_invalid() || enters_kernel || leaves {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    let is_write = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    let used = factory.info(&instruction).used_memory().iter().filter(|used| is_write(used.access()));
    used.map(|used| {
        let len = used.memory_size().size();
        let address = used.virtual_address(0, |register, _, _| value_of(registers, register))?;
        (len > 0).then_some((address, len))
    })
    .collect()
}

/// Returns the value of a general register, or the base of a segment, for iced's addresses of operands.
#[must_use]
pub fn value_of(registers: &Registers, register: Register) -> Option<u64> {
    match register {
        Register::CS | Register::DS | Register::ES | Register::SS => Some(0),
        Register::FS => Some(registers.fs_base()),
        Register::GS => Some(registers.gs_base()),
        Register::RIP => Some(registers.ip()),
        _ if register.is_gpr64() => Some(registers.general(register.number())),
        _ if register.is_gpr32() => Some(registers.general(register.number()) & u64::from(u32::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(code: &[u8]) -> Option<Vec<(u64, usize)>> {
        let mut registers = Registers::default();
        registers.set_ip(0x5000);
        registers.set_args([0x1000, 0x20, 3, 0, 0, 0]);
        registers.set_general(4, 0x9000);
        writes(code, &registers)
    }

    #[test]
    fn operands_and_the_stack_are_written() {
        assert_eq!(written(&[0x90]), Some(vec![]), "nop");
        assert_eq!(written(&[0x89, 0x4f, 0x08]), Some(vec![(0x1008, 4)]), "mov [rdi + 8], ecx");
        assert_eq!(written(&[0x8b, 0x4f, 0x08]), Some(vec![]), "mov ecx, [rdi + 8]");
        assert_eq!(written(&[0x48, 0x8d, 0x4f, 0x08]), Some(vec![]), "lea rcx, [rdi + 8]");
        assert_eq!(written(&[0x55]), Some(vec![(0x8ff8, 8)]), "push rbp");
        assert_eq!(written(&[0xe8, 0, 0, 0, 0]), Some(vec![(0x8ff8, 8)]), "call");
        assert_eq!(written(&[0xf0, 0x48, 0xff, 0x04, 0x37]), Some(vec![(0x1020, 8)]), "lock inc [rdi + rsi]");
        assert_eq!(
            written(&[0xc6, 0x05, 0x10, 0, 0, 0, 1]),
            Some(vec![(0x5017, 1)]),
            "mov byte [rip + 16], 1"
        );
        assert_eq!(written(&[0x0f, 0x29, 0x07]), Some(vec![(0x1000, 16)]), "movaps [rdi], xmm0");
    }

    #[test]
    fn what_is_not_certain_is_not_told() {
        assert_eq!(written(&[0x0f, 0x05]), None, "syscall");
        assert_eq!(written(&[0xf3, 0xaa]), None, "rep stosb");
        assert_eq!(written(&[0x48, 0x0f, 0xae, 0x27]), None, "xsave");
        assert_eq!(written(&[0xcc]), None, "int3");
        assert_eq!(written(&[0x06]), None, "invalid");
    }
}
