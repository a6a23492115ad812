//! The seccomp filter: every system call stops, except injected ones and those of the system-call buffer.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_TRACE,
    SECCOMP_RET_TRAP, sock_filter,
};

use rrtest_preload::layout::UNTRACED;

use crate::tracee::area::Area;

/// `AUDIT_ARCH_X86_64` (linux/audit.h).
const ARCH: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
mod offset {
    pub(super) const ARCH: u32 = 4;
    pub(super) const IP_LOW: u32 = 8;
    pub(super) const IP_HIGH: u32 = 12;
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

const fn load(offset: u32) -> sock_filter {
    op(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

const fn jump_unless(value: u32, skip: u8) -> sock_filter {
    op(BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value)
}

const fn jump_if(value: u32, skip: u8) -> sock_filter {
    op(BPF_JMP | BPF_JEQ | BPF_K, skip, 0, value)
}

const fn answer(action: u32) -> sock_filter {
    op(BPF_RET | BPF_K, 0, 0, action)
}

/// The filter program. Calls of another architecture (`int 0x80`) raise SIGSYS, by which the recorder recognizes them.
pub(super) const FILTER: [sock_filter; 11] = [
    load(offset::ARCH),
    jump_unless(ARCH, 7),
    load(offset::IP_HIGH),
    jump_unless(0, 6),
    load(offset::IP_LOW),
    jump_if(Area::INJECTED_IP as u32, 2),
    jump_if(Area::BATCH_IP as u32, 1),
    jump_unless(UNTRACED as u32, 2),
    answer(SECCOMP_RET_ALLOW),
    answer(SECCOMP_RET_TRAP),
    answer(SECCOMP_RET_TRACE),
];

// The filter compares the low 32 bits of addresses.
const _: () = assert!((Area::INJECTED_IP | Area::BATCH_IP | UNTRACED as u64) >> 32 == 0);
