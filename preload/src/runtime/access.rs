//! Plain memory accesses (`--preempt memory`).
//!
//! The instrumented code makes the access itself, right after the call; copies and fills are made here.

use core::{arch::asm, ptr};

use super::{entry, tick};
use crate::layout::AccessKind;

/// Entry points that only tick. All take the address first; some take more (a length, a program counter, a new vtable
/// pointer), which is not used here.
macro_rules! accesses {
    ($($kind:ident $name:literal [$($size:literal)+] $suffix:literal;)+) => {$($(
        entry!(concat!("__tsan_", $name, $size, $suffix), (address: *const ()) { tick::<{ AccessKind::$kind as u64 }, _>(address) });
    )+)+};
}

accesses! {
    Load "read" [1 2 4 8 16] "";
    Load "read" [1 2 4 8 16] "_pc";
    Load "unaligned_read" [2 4 8 16] "";
    Load "unaligned_read" [2 4 8 16] "_pc";
    Load "volatile_read" [1 2 4 8 16] "";
    Load "unaligned_volatile_read" [2 4 8 16] "";
    Load "read_range" [""] "";
    Load "read_range" [""] "_pc";
    Load "vptr_read" [""] "";
    Store "write" [1 2 4 8 16] "";
    Store "write" [1 2 4 8 16] "_pc";
    Store "unaligned_write" [2 4 8 16] "";
    Store "unaligned_write" [2 4 8 16] "_pc";
    Store "volatile_write" [1 2 4 8 16] "";
    Store "unaligned_volatile_write" [2 4 8 16] "";
    Store "write_range" [""] "";
    Store "write_range" [""] "_pc";
    Store "vptr_update" [""] "";
    Store "read_write" [1 2 4 8 16] "";
    Store "unaligned_read_write" [2 4 8 16] "";
}

/// Entry points that a sanitizer needs but a clock does not: they do not tick.
macro_rules! no_ops {
    ($($name:literal)+) => {$(
        entry!(concat!("__tsan_", $name), () {});
    )+};
}

no_ops! { "init" "func_entry" "func_exit" "ignore_thread_begin" "ignore_thread_end" }

entry!("__tsan_memcpy", (to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of C's memcpy, which is stricter.
    unsafe { copy(to, from, length) };
    to
});

entry!("__tsan_memmove", (to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of C's memmove.
    unsafe { copy(to, from, length) };
    to
});

entry!("__tsan_memset", (to: *mut u8, byte: u32, length: usize) -> *mut u8 {
    if length == 0 {
        return to;
    }
    tick::<{ AccessKind::Store as u64 }, _>(to);
    // SAFETY: the caller's contract is that of C's memset: `length` bytes at `to` are its own to write.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
    }
    to
});

/// Ticks twice, since a copy accesses two places, then copies in one step. A copy of nothing accesses nothing: whoever sees
/// a tick can rely on an access.
///
/// # Safety
///
/// As [`ptr::copy`]: `length` bytes must be readable at `from` and writable at `to`; they may overlap.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, length: usize) {
    if length == 0 {
        return;
    }
    tick::<{ AccessKind::Load as u64 }, _>(from);
    tick::<{ AccessKind::Store as u64 }, _>(to);
    // Most copies move a small value. Two loads that may overlap cover each length between their size and its double.
    // SAFETY: each access stays within `length` bytes; both loads come before both stores.
    unsafe {
        match length {
            16..=32 => copy_ends::<u128>(to, from, length),
            8..16 => copy_ends::<u64>(to, from, length),
            4..8 => copy_ends::<u32>(to, from, length),
            2..4 => copy_ends::<u16>(to, from, length),
            1 => to.write(from.read()),
            _ if to.addr().wrapping_sub(from.addr()) >= length => {
                asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
                    options(nostack, preserves_flags));
            }
            // `to` lies within the source: copy from the end, except for the head, which is read before it is
            // overwritten.
            _ => {
                let head: u128 = ptr::read_unaligned(from.cast());
                let mut left = length;
                while left > size_of::<u128>() {
                    left -= size_of::<u128>();
                    let part: u128 = ptr::read_unaligned(from.add(left).cast());
                    ptr::write_unaligned(to.add(left).cast(), part);
                }
                ptr::write_unaligned(to.cast(), head);
            }
        }
    }
}

/// Copies the first and the last `T` of `length` bytes.
///
/// # Safety
///
/// As [`copy`], with a `length` between one and two times the size of `T`.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, length: usize) {
    let last = length - size_of::<T>();
    // SAFETY: the caller's.
    unsafe {
        let (head, tail): (T, T) =
            (ptr::read_unaligned(from.cast()), ptr::read_unaligned(from.add(last).cast()));
        ptr::write_unaligned(to.cast(), head);
        ptr::write_unaligned(to.add(last).cast(), tail);
    }
}
