//! Finds the atomic operations in a file's code.
//!
//! They are the instructions with a lock prefix, exchanges with memory, which lock without one, and the full fence
//! (Intel SDM, volume 3, 8.1.2 and 8.2.5). An atomic load is an ordinary `mov`, as is an atomic store that only
//! releases: these cannot be told from other accesses.

use std::collections::HashMap;
use std::fs::File;
use std::mem::offset_of;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use rrtest_preload::layout::{AREA, AccessKind, Shared};

use super::functions::{FileState, Functions, Site};

/// An atomic operation in a file.
type TickSite = Site<AccessKind>;

/// The results for the files seen so far: each is searched once.
static KNOWN: LazyLock<Mutex<HashMap<FileState, Arc<[TickSite]>>>> = LazyLock::new(Mutex::default);

/// Returns the atomic operations in a file's functions, except those that count ticks themselves; none if it has no
/// 64-bit code with call frame information.
///
/// # Errors
/// If the file cannot be read.
pub fn tick_sites(file: &File) -> std::io::Result<Arc<[TickSite]>> {
    let key = FileState::of(file)?;
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sites) = known().get(&key) {
        return Ok(Arc::clone(sites));
    }
    let found = Functions::read(file)?.map(|it| it.find(candidates, operation, Some(&counts_down())));
    let sites: Arc<[TickSite]> = found.unwrap_or_default().into();
    known().insert(key, Arc::clone(&sites));
    Ok(sites)
}

/// The bytes by which a function of the runtime that is compiled into programs counts a tick:
/// `dec qword ptr [countdown]`.
fn counts_down() -> Vec<u8> {
    let countdown = (AREA + offset_of!(Shared, countdown)) as u32;
    [&[0x48, 0xff, 0x0c, 0x25][..], &countdown.to_le_bytes()].concat()
}

/// Finds bytes that may belong to an atomic operation: a lock prefix before an opcode that can have one, the opcode of
/// an exchange before a memory operand, that of a fence.
fn candidates(code: &[u8]) -> Vec<usize> {
    let is_memory = |modrm: Option<&u8>| modrm.is_some_and(|modrm| *modrm < 0xc0);
    let belongs = |at: &usize| match code[*at] {
        0xf0 => {
            let rest = code.get(at + 1..).unwrap_or_default();
            let rest = rest.strip_prefix(&[0x66]).unwrap_or(rest);
            let rest = match rest {
                [0x40..=0x4f, rest @ ..] => rest,
                _ => rest,
            };
            match rest {
                // add, or, adc, sbb, and, sub, xor; two operands, or an immediate one.
                [opcode @ 0x00..=0x31, modrm, ..] if opcode & 7 < 2 => *modrm < 0xc0,
                [0x80 | 0x81 | 0x83 | 0x86 | 0x87 | 0xf6 | 0xf7 | 0xfe | 0xff, modrm, ..] => *modrm < 0xc0,
                // bts, btr, btc, cmpxchg, xadd, cmpxchg8b and cmpxchg16b
                [0x0f, 0xab | 0xb0 | 0xb1 | 0xb3 | 0xba | 0xbb | 0xc0 | 0xc1 | 0xc7, modrm, ..] => {
                    *modrm < 0xc0
                }
                _ => false,
            }
        }
        0x86 | 0x87 => is_memory(code.get(at + 1)),
        0x0f => code.get(at + 1..at + 3) == Some(&[0xae, 0xf0]),
        _ => false,
    };
    (0..code.len()).filter(belongs).collect()
}

/// Returns what an instruction does, if it is an atomic operation.
pub(super) fn operation(instruction: &Instruction) -> Option<AccessKind> {
    let updates = instruction.op0_kind() == OpKind::Memory
        && (instruction.has_lock_prefix() || instruction.mnemonic() == Mnemonic::Xchg);
    match instruction.mnemonic() {
        Mnemonic::Mfence => Some(AccessKind::Fence),
        _ if updates && is_fence(instruction) => Some(AccessKind::Fence),
        _ if updates => Some(AccessKind::AtomicUpdate),
        _ => None,
    }
}

/// Whether an instruction is what compilers emit for a fence: it changes nothing on the stack.
fn is_fence(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Or | Mnemonic::Add)
        && instruction.memory_base() == Register::RSP
        && instruction.op1_kind() != OpKind::Register
        && instruction.immediate(1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_from_bytes_like_theirs() {
        let mut code = Vec::new();
        let mut expected = Vec::new();
        for (bytes, kind) in [
            (&[0xf0, 0x0f, 0xb1, 0x17][..], Some(AccessKind::AtomicUpdate)), // lock cmpxchg [rdi], edx
            (&[0xb8, 0xf0, 0x0f, 0xb1, 0x17], None),                         // mov eax, 0x17b10ff0
            (&[0xf0, 0x48, 0x0f, 0xc1, 0x05, 1, 2, 3, 0], Some(AccessKind::AtomicUpdate)), // lock xadd [rip+…], rax
            (&[0xf0, 0xff, 0x0f], Some(AccessKind::AtomicUpdate)), // lock dec dword ptr [rdi]
            (&[0x87, 0x07], Some(AccessKind::AtomicUpdate)),       // xchg [rdi], eax
            (&[0x66, 0x41, 0x87, 0x00], Some(AccessKind::AtomicUpdate)), // xchg [r8], ax
            (&[0x48, 0x87, 0xd9], None),                           // xchg rcx, rbx
            (&[0x0f, 0xae, 0xf0], Some(AccessKind::Fence)),        // mfence
            (&[0xf0, 0x48, 0x83, 0x0c, 0x24, 0x00], Some(AccessKind::Fence)), // lock or qword ptr [rsp], 0
            (&[0x0f, 0xae, 0xe8], None),                           // lfence
            (&[0xf0, 0x66, 0x41, 0x0f, 0xba, 0x28, 3], Some(AccessKind::AtomicUpdate)), // lock bts word ptr [r8], 3
        ] {
            expected.extend(kind.map(|kind| (code.len() as u64, bytes.len() as u8, kind)));
            code.extend_from_slice(bytes);
        }
        let found = Functions::of_code(&code).find(candidates, operation, None);
        let found: Vec<_> = found.iter().map(|site| (site.at, site.len, site.what)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_counts_ticks_itself_is_left_out() {
        let mut code = counts_down();
        code.extend([0xf0, 0x0f, 0xb1, 0x17]);
        let functions = Functions::of_code(&code);
        assert_eq!(functions.find(candidates, operation, None).len(), 1);
        assert_eq!(functions.find(candidates, operation, Some(&counts_down())).len(), 0);
    }
}
