//! Atomic operations (all levels of `--preempt` except `syscall`).
//!
//! Each is a tick, then the operation, at least as strong as requested: on x86-64 every load acquires, every store
//! releases, every read-modify-write is sequentially consistent, so only stores and fences look at the order given.

use core::{
    arch::asm,
    cell::UnsafeCell,
    sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, compiler_fence, fence},
};

use super::{entry, tick};
use crate::layout::AccessKind;

/// C's `memory_order_seq_cst`, as the compilers encode it.
const SEQ_CST: i32 = 5;

/// All entry points of one width. Operands narrower than a register are taken as `u32`: the ABI leaves the upper bits
/// of their register undefined, and Rust would assume that they are zero.
macro_rules! width {
    ($bits:literal: $atomic:ident, $value:ty, $operand:ty) => {
        entry!(concat!("__tsan_atomic", $bits, "_load"), (cell: *mut $value, _order: i32) -> $value {
            tick::<{ AccessKind::AtomicLoad as u64 }, _>(cell);
            // SAFETY: the caller's atomic operation is on a valid, aligned `cell`.
            unsafe { $atomic::from_ptr(cell) }.load(Ordering::Acquire)
        });

        entry!(concat!("__tsan_atomic", $bits, "_store"), (cell: *mut $value, value: $operand, order: i32) {
            tick::<{ AccessKind::AtomicStore as u64 }, _>(cell);
            // SAFETY: as above.
            let cell = unsafe { $atomic::from_ptr(cell) };
            if order == SEQ_CST {
                cell.store(value as $value, Ordering::SeqCst);
            } else {
                cell.store(value as $value, Ordering::Release);
            }
        });

        updates! {
            $bits: $atomic, $value, $operand;
            "exchange" swap, "fetch_add" fetch_add, "fetch_sub" fetch_sub, "fetch_and" fetch_and, "fetch_or" fetch_or,
            "fetch_xor" fetch_xor, "fetch_nand" fetch_nand
        }

        // LLVM emits this. It returns the value found.
        entry!(concat!("__tsan_atomic", $bits, "_compare_exchange_val"),
            (cell: *mut $value, expected: $operand, new: $operand, _success: i32, _failure: i32) -> $value {
            tick::<{ AccessKind::AtomicUpdate as u64 }, _>(cell);
            // SAFETY: as above.
            let cell = unsafe { $atomic::from_ptr(cell) };
            match cell.compare_exchange(expected as $value, new as $value, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(found) | Err(found) => found,
            }
        });

        compare_exchange!($bits: $atomic, $value, $operand; "strong");
        compare_exchange!($bits: $atomic, $value, $operand; "weak");
    };
}

/// Read-modify-writes with one operand. They return the old value.
macro_rules! updates {
    ($bits:literal: $atomic:ident, $value:ty, $operand:ty; $($name:literal $method:ident),+) => {$(
        entry!(concat!("__tsan_atomic", $bits, "_", $name),
            (cell: *mut $value, operand: $operand, _order: i32) -> $value {
            tick::<{ AccessKind::AtomicUpdate as u64 }, _>(cell);
            // SAFETY: the caller's atomic operation is on a valid, aligned `cell`.
            unsafe { $atomic::from_ptr(cell) }.$method(operand as $value, Ordering::SeqCst)
        });
    )+};
}

/// GCC emits these. They return whether they succeeded, and replace the expected value by the one found. The weak form
/// never fails spuriously here.
macro_rules! compare_exchange {
    ($bits:literal: $atomic:ident, $value:ty, $operand:ty; $name:literal) => {
        entry!(concat!("__tsan_atomic", $bits, "_compare_exchange_", $name),
            (cell: *mut $value, expected: *mut $value, new: $operand, _success: i32, _failure: i32) -> i32 {
            tick::<{ AccessKind::AtomicUpdate as u64 }, _>(cell);
            // SAFETY: the caller's atomic operation is on a valid, aligned `cell`; `expected` is the caller's own.
            let (cell, wanted) = unsafe { ($atomic::from_ptr(cell), *expected) };
            match cell.compare_exchange(wanted, new as $value, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => 1,
                Err(found) => {
                    // SAFETY: as above.
                    unsafe { *expected = found };
                    0
                }
            }
        });
    };
}

width!(8: AtomicU8, u8, u32);
width!(16: AtomicU16, u16, u32);
width!(32: AtomicU32, u32, u32);
width!(64: AtomicU64, u64, u64);
width!(128: AtomicU128, u128, u128);

entry!("__tsan_atomic_thread_fence", (order: i32) {
    tick::<{ AccessKind::Fence as u64 }, _>(core::ptr::null::<()>());
    if order == SEQ_CST {
        fence(Ordering::SeqCst);
    }
});

// This orders a thread only with its own signal handlers, which costs nothing at run time. It is a tick since the light
// side of an asymmetric fence (membarrier) looks like this.
entry!("__tsan_atomic_signal_fence", (_order: i32) {
    tick::<{ AccessKind::Fence as u64 }, _>(core::ptr::null::<()>());
    compiler_fence(Ordering::SeqCst);
});

/// A 16-byte atomic, which core has on nightly only. All operations use `cmpxchg16b`, which every x86-64-v2 processor
/// has, and which a program must have checked before it uses such atomics at all. So a load writes (what it found), as
/// in other implementations that do not require AVX: the memory must be writable.
#[repr(C, align(16))]
struct AtomicU128(UnsafeCell<u128>);

impl AtomicU128 {
    /// # Safety
    ///
    /// As `AtomicU64::from_ptr`: `cell` must be aligned to 16 bytes, and valid for reads and writes.
    unsafe fn from_ptr<'a>(cell: *mut u128) -> &'a Self {
        // SAFETY: the caller's; the layout is the same.
        unsafe { &*cell.cast() }
    }

    fn compare_exchange(&self, expected: u128, new: u128, _: Ordering, _: Ordering) -> Result<u128, u128> {
        let (low, high): (u64, u64);
        let cell = self.0.get();
        // SAFETY: `cell` is valid and aligned. The compiler reserves rbx, so it is swapped in and out.
        unsafe {
            asm!(
                "xchg rbx, {new_low}",
                "lock cmpxchg16b xmmword ptr [{cell}]",
                "mov rbx, {new_low}",
                cell = in(reg) cell,
                new_low = inout(reg) new as u64 => _,
                in("rcx") (new >> 64) as u64,
                inlateout("rax") expected as u64 => low,
                inlateout("rdx") (expected >> 64) as u64 => high,
                options(nostack)
            );
        }
        let found = u128::from(high) << 64 | u128::from(low);
        if found == expected { Ok(found) } else { Err(found) }
    }

    fn load(&self, order: Ordering) -> u128 {
        match self.compare_exchange(0, 0, order, order) {
            Ok(found) | Err(found) => found,
        }
    }

    fn store(&self, value: u128, order: Ordering) {
        self.swap(value, order);
    }

    fn update(&self, order: Ordering, change: impl Fn(u128) -> u128) -> u128 {
        let mut expected = self.load(order);
        loop {
            match self.compare_exchange(expected, change(expected), order, order) {
                Ok(old) => return old,
                Err(found) => expected = found,
            }
        }
    }
}

/// The read-modify-writes of [`AtomicU128`].
macro_rules! atomic_u128 {
    ($($method:ident |$old:ident, $operand:ident| $new:expr;)+) => {
        impl AtomicU128 {$(
            fn $method(&self, $operand: u128, order: Ordering) -> u128 {
                self.update(order, |$old| $new)
            }
        )+}
    };
}

atomic_u128! {
    swap |_old, new| new;
    fetch_add |old, operand| old.wrapping_add(operand);
    fetch_sub |old, operand| old.wrapping_sub(operand);
    fetch_and |old, operand| old & operand;
    fetch_or |old, operand| old | operand;
    fetch_xor |old, operand| old ^ operand;
    fetch_nand |old, operand| !(old & operand);
}
