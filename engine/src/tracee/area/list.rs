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
