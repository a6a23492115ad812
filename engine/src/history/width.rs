//! How many bytes an access takes, which the program's code tells: the clock's runtime counts, and then makes the access, or
//! returns to who makes it.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};

use crate::tracee::{Registers, value_of};

/// Instructions up to the access.
const MOST: usize = 24;

/// Bytes of the longest instruction (Intel SDM, volume 2, 2.3.11).
const LONGEST: usize = 15;

/// Returns the size of the access to this address that a task comes to from where it stands; none if it cannot be told.
/// `read` reads the task's memory.
pub(super) fn width(
    registers: &Registers,
    address: u64,
    read: impl Fn(u64, usize) -> Option<Vec<u8>>,
) -> Option<u8> {
    // Where a branch may go either way, both are looked at: the access is the same.
    let mut ways = vec![(registers.ip(), registers.sp())];
    for _ in 0..MOST {
        let (ip, sp) = ways.pop()?;
        let Some(code) = (1..=LONGEST).rev().find_map(|len| read(ip, len)) else { continue };
        let instruction = Decoder::with_ip(64, &code, ip, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            continue;
        }
        if effective(&instruction, registers) == Some(address) {
            let size = instruction.memory_size().size();
            return u8::try_from(size).ok().filter(|size| (1..=8).contains(size));
        }
        match instruction.flow_control() {
            FlowControl::Next => ways.push((instruction.next_ip(), sp)),
            FlowControl::UnconditionalBranch => ways.push((instruction.near_branch_target(), sp)),
            FlowControl::ConditionalBranch => {
                ways.push((instruction.near_branch_target(), sp));
                ways.push((instruction.next_ip(), sp));
            }
            FlowControl::Return => {
                let back = read(sp, 8).and_then(|bytes| bytes.try_into().ok());
                ways.extend(back.map(|back| (u64::from_le_bytes(back), sp.wrapping_add(8))));
            }
            _ => {}
        }
    }
    None
}

/// The address that an instruction accesses, if the registers are as they were: those that code changes on the way give
/// another one.
fn effective(instruction: &Instruction, registers: &Registers) -> Option<u64> {
    let operand = (0..instruction.op_count()).find(|at| instruction.op_kind(*at) == OpKind::Memory)?;
    instruction.virtual_address(operand, 0, |register, _, _| value_of(registers, register))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: u64 = 0x7000;

    /// The width of the access that this code comes to, at address 0x1000; rdi has the object's address, and the stack the
    /// address 0x1010 to return to.
    fn of(code: &[u8]) -> Option<u8> {
        let mut registers = Registers([0; 27]);
        let mut set = [0; 6];
        set[0] = OBJECT;
        registers.set_args(set);
        registers.set_ip(0x1000);
        let read = |address: u64, len: usize| match address {
            0 => Some(0x1010_u64.to_le_bytes()[..len].to_vec()),
            address => {
                let at = usize::try_from(address.checked_sub(0x1000)?).ok()?;
                Some(code.get(at..at + len)?.to_vec())
            }
        };
        width(&registers, OBJECT, read)
    }

    #[test]
    fn the_access_behind_a_tick_tells_its_size() {
        // jmp +2; (int3, int3); mov rax, [rdi]
        assert_eq!(of(&[0xeb, 0x02, 0xcc, 0xcc, 0x48, 0x8b, 0x07, 0xc3]), Some(8));
        // movzx eax, byte [rdi]
        assert_eq!(of(&[0x0f, 0xb6, 0x07, 0xc3]), Some(1));
        // lock cmpxchg [rdi], edx
        assert_eq!(of(&[0xf0, 0x0f, 0xb1, 0x17, 0xc3]), Some(4));
        // ret, and behind the call mov word [rdi], ax
        let mut code = [0xcc; 0x20];
        code[0] = 0xc3;
        code[0x10..0x13].copy_from_slice(&[0x66, 0x89, 0x07]);
        assert_eq!(of(&code), Some(2));
        // cmp edx, 5; jne +4; xchg [rdi], rsi; ret; mov [rdi], rsi
        assert_eq!(of(&[0x83, 0xfa, 0x05, 0x75, 0x04, 0x48, 0x87, 0x37, 0xc3, 0x48, 0x89, 0x37]), Some(8));
        // lock cmpxchg16b [rdi]
        assert_eq!(of(&[0xf0, 0x48, 0x0f, 0xc7, 0x0f, 0xc3]), None);
        // Another address, a call, no code.
        assert_eq!(of(&[0x48, 0x8b, 0x06, 0xe8, 0, 0, 0, 0]), None);
        assert_eq!(of(&[0x06]), None);
        assert_eq!(of(&[]), None);
    }
}
