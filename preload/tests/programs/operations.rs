//! Every atomic type, operation and ordering, and every other entry point that does something, against what plain
//! arithmetic says.

use std::{
    hint::black_box,
    ptr,
    sync::atomic::{
        AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU16,
        AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{self, *},
        compiler_fence, fence,
    },
};

const LOADS: [Ordering; 3] = [Relaxed, Acquire, SeqCst];
const STORES: [Ordering; 3] = [Relaxed, Release, SeqCst];
const UPDATES: [Ordering; 5] = [Relaxed, Acquire, Release, AcqRel, SeqCst];

macro_rules! integers {
    ($($atomic:ident $value:ty),+) => {$({
        let values: [$value; 6] = [0, 1, 0x55, <$value>::MAX, <$value>::MIN, (0xa5a5_5a5a_dead_beef_u64 as $value)];
        for a in values {
            for b in values {
                // Neighbours must keep their value.
                let cells: [$atomic; 3] = black_box([$atomic::new(a), $atomic::new(a), $atomic::new(a)]);
                let cell = &cells[1];
                let now = || cell.load(Relaxed);
                for order in LOADS {
                    assert_eq!(cell.load(order), a);
                }
                for order in STORES {
                    cell.store(b, order);
                    assert_eq!(now(), b);
                    cell.store(a, order);
                    assert_eq!(now(), a);
                }
                for order in UPDATES {
                    let check = |old: $value, new: $value| {
                        assert_eq!((old, now()), (a, new), "{} {a} {b} {order:?}", stringify!($atomic));
                        cell.store(a, Relaxed);
                    };
                    check(cell.swap(b, order), b);
                    check(cell.fetch_add(b, order), a.wrapping_add(b));
                    check(cell.fetch_sub(b, order), a.wrapping_sub(b));
                    check(cell.fetch_and(b, order), a & b);
                    check(cell.fetch_or(b, order), a | b);
                    check(cell.fetch_xor(b, order), a ^ b);
                    check(cell.fetch_nand(b, order), !(a & b));
                    check(cell.fetch_max(b, order), a.max(b));
                    check(cell.fetch_min(b, order), a.min(b));
                    for failure in LOADS {
                        check(cell.fetch_update(order, failure, |old| Some(old ^ b)).unwrap(), a ^ b);
                        check(cell.compare_exchange(a, b, order, failure).unwrap(), b);
                        check(cell.compare_exchange(!a, b, order, failure).unwrap_err(), a);
                        while cell.compare_exchange_weak(a, b, order, failure).is_err() {}
                        assert_eq!(now(), b);
                        cell.store(a, Relaxed);
                        check(cell.compare_exchange_weak(!a, b, order, failure).unwrap_err(), a);
                    }
                }
                assert_eq!([cells[0].load(Relaxed), cells[2].load(Relaxed)], [a, a]);
            }
        }
    })+};
}

fn booleans_and_pointers() {
    for order in UPDATES {
        for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
            let cell = black_box(AtomicBool::new(a));
            let check = |old: bool, new: bool| {
                assert_eq!((old, cell.load(SeqCst)), (a, new));
                cell.store(a, SeqCst);
            };
            check(cell.swap(b, order), b);
            check(cell.fetch_and(b, order), a & b);
            check(cell.fetch_or(b, order), a | b);
            check(cell.fetch_xor(b, order), a ^ b);
            check(cell.fetch_nand(b, order), !(a & b));
            check(cell.fetch_not(order), !a);
            check(cell.compare_exchange(a, b, order, Relaxed).unwrap(), b);
            check(cell.compare_exchange(!a, b, order, Relaxed).unwrap_err(), a);
        }
        let (mut x, mut y) = (1u8, 2u8);
        let (x, y) = (&raw mut x, &raw mut y);
        let cell = black_box(AtomicPtr::new(x));
        assert_eq!(cell.swap(y, order), x);
        assert_eq!(cell.compare_exchange(y, x, order, Relaxed), Ok(y));
        assert_eq!(cell.compare_exchange(y, x, order, Relaxed), Err(x));
        cell.store(ptr::null_mut(), Release);
        assert!(cell.load(Acquire).is_null());
        fence(if order == Relaxed { SeqCst } else { order });
        compiler_fence(if order == Relaxed { SeqCst } else { order });
    }
}

/// Entry points that rustc does not emit, but other compilers do.
macro_rules! direct {
    ($($module:ident $value:ty: $strong:ident $weak:ident;)+) => {$(
        mod $module {
            unsafe extern "C" {
                fn $strong(cell: *mut $value, expected: *mut $value, new: $value, success: i32, failure: i32) -> i32;
                fn $weak(cell: *mut $value, expected: *mut $value, new: $value, success: i32, failure: i32) -> i32;
            }

            pub(crate) fn check() {
                for exchange in [$strong, $weak] {
                    let (mut cell, mut expected) = (<$value>::MAX - 7, <$value>::MAX - 7);
                    // SAFETY: both are valid and aligned.
                    unsafe {
                        assert_eq!(exchange(&mut cell, &mut expected, 9, 5, 5), 1);
                        assert_eq!((cell, expected), (9, <$value>::MAX - 7));
                        assert_eq!(exchange(&mut cell, &mut expected, 1, 0, 0), 0);
                        assert_eq!((cell, expected), (9, 9));
                    }
                }
            }
        }
    )+};
}

direct! {
    direct8 u8: __tsan_atomic8_compare_exchange_strong __tsan_atomic8_compare_exchange_weak;
    direct16 u16: __tsan_atomic16_compare_exchange_strong __tsan_atomic16_compare_exchange_weak;
    direct32 u32: __tsan_atomic32_compare_exchange_strong __tsan_atomic32_compare_exchange_weak;
    direct64 u64: __tsan_atomic64_compare_exchange_strong __tsan_atomic64_compare_exchange_weak;
    direct128 u128: __tsan_atomic128_compare_exchange_strong __tsan_atomic128_compare_exchange_weak;
}

type Update = unsafe extern "C" fn(*mut u128, u128, i32) -> u128;

unsafe extern "C" {
    fn __tsan_atomic128_load(cell: *mut u128, order: i32) -> u128;
    fn __tsan_atomic128_store(cell: *mut u128, value: u128, order: i32);
    fn __tsan_atomic128_exchange(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_add(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_sub(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_and(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_or(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_xor(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_fetch_nand(cell: *mut u128, value: u128, order: i32) -> u128;
    fn __tsan_atomic128_compare_exchange_val(
        cell: *mut u128,
        expected: u128,
        new: u128,
        success: i32,
        failure: i32,
    ) -> u128;
    fn __tsan_memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn __tsan_memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn __tsan_memset(to: *mut u8, byte: i32, length: usize) -> *mut u8;
}

fn sixteen_bytes() {
    direct128::check();
    let values = [0, 1, u128::MAX, u128::from(u64::MAX), 1 << 127, 0xdead_beef << 60];
    let updates: [(Update, fn(u128, u128) -> u128); 7] = [
        (__tsan_atomic128_exchange, |_, b| b),
        (__tsan_atomic128_fetch_add, u128::wrapping_add),
        (__tsan_atomic128_fetch_sub, u128::wrapping_sub),
        (__tsan_atomic128_fetch_and, |a, b| a & b),
        (__tsan_atomic128_fetch_or, |a, b| a | b),
        (__tsan_atomic128_fetch_xor, |a, b| a ^ b),
        (__tsan_atomic128_fetch_nand, |a, b| !(a & b)),
    ];
    for a in values {
        for b in values {
            for order in [0, 2, 3, 4, 5] {
                let mut cell = a;
                let cell = &raw mut cell;
                // SAFETY: valid and aligned.
                unsafe {
                    assert_eq!(__tsan_atomic128_load(cell, order), a);
                    __tsan_atomic128_store(cell, b, order);
                    assert_eq!(__tsan_atomic128_load(cell, order), b);
                    for (update, model) in updates {
                        __tsan_atomic128_store(cell, a, order);
                        assert_eq!(update(cell, b, order), a);
                        assert_eq!(*cell, model(a, b));
                    }
                    *cell = a;
                    assert_eq!(__tsan_atomic128_compare_exchange_val(cell, !a, b, order, order), a);
                    assert_eq!(*cell, a);
                    assert_eq!(__tsan_atomic128_compare_exchange_val(cell, a, b, order, order), a);
                    assert_eq!(*cell, b);
                }
            }
        }
    }
}

fn copies() {
    let original: Vec<u8> = (0..=255).collect();
    let lengths = (0..70).chain([127, 128, 129]);
    for length in lengths {
        for from in [40, 43] {
            // To before, onto and behind the source, with and without overlap.
            for to in (0..=127).filter(|to| to + length <= 256) {
                let (mut found, mut wanted) = (original.clone(), original.clone());
                wanted.copy_within(from..from + length, to);
                let base = found.as_mut_ptr();
                // SAFETY: within the vector.
                let result = unsafe { __tsan_memmove(base.add(to), base.add(from), length) };
                assert_eq!(result, base.wrapping_add(to));
                assert_eq!(found, wanted, "move {length} from {from} to {to}");
            }
        }
        let mut found = vec![0; 256];
        // SAFETY: within the vectors.
        let result = unsafe { __tsan_memcpy(found.as_mut_ptr().add(3), original.as_ptr().add(9), length) };
        assert_eq!(result, found.as_mut_ptr().wrapping_add(3));
        assert_eq!(found[3..3 + length], original[9..9 + length]);
        assert!(found[..3].iter().chain(&found[3 + length..]).all(|byte| *byte == 0));
        // SAFETY: within the vector. Only the low byte counts.
        unsafe { __tsan_memset(found.as_mut_ptr().add(1), 0x1207, length) };
        assert!(found[1..1 + length].iter().all(|byte| *byte == 7));
        assert!(found[0] == 0 && found[1 + length..].iter().all(|byte| *byte != 7));
    }
}

fn main() {
    integers! {
        AtomicI8 i8, AtomicU8 u8, AtomicI16 i16, AtomicU16 u16, AtomicI32 i32, AtomicU32 u32, AtomicI64 i64,
        AtomicU64 u64, AtomicIsize isize, AtomicUsize usize
    }
    booleans_and_pointers();
    direct8::check();
    direct16::check();
    direct32::check();
    direct64::check();
    if is_x86_feature_detected!("cmpxchg16b") {
        sixteen_bytes();
    }
    copies();
}
