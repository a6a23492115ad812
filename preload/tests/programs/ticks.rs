//! Each operation ticks once, with its address and kind, before it takes effect.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    hint::black_box,
    sync::atomic::{
        AtomicBool, AtomicI16, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering::*, compiler_fence, fence,
    },
};

use recorder::layout::AccessKind::{self, *};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __tsan_memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn __tsan_memset(to: *mut u8, byte: c_int, length: usize) -> *mut u8;
    fn __tsan_read8(address: *const u64);
    fn __tsan_unaligned_write2(address: *const u64);
    fn __tsan_func_entry(pc: *const c_void);
}

/// Runs `operation` with every tick trapped, and checks the ticks at `address`.
fn expect<T, R>(address: *const T, kinds: &[AccessKind], operation: impl FnOnce() -> R) {
    recorder::begin(1);
    let result = operation();
    let ticks = recorder::end();
    black_box(result);
    let found: Vec<AccessKind> = ticks.iter().filter(|tick| tick.0 == address.addr()).map(|tick| tick.1).collect();
    assert_eq!(found, kinds, "{ticks:?}");
}

fn atomics() {
    let cell = black_box(AtomicU32::new(0));
    let at = cell.as_ptr();
    expect(at, &[AtomicLoad], || cell.load(Acquire));
    expect(at, &[AtomicStore], || cell.store(1, Relaxed));
    expect(at, &[AtomicStore], || cell.store(2, SeqCst));
    expect(at, &[AtomicUpdate], || cell.swap(3, AcqRel));
    expect(at, &[AtomicUpdate], || cell.fetch_add(1, Relaxed));
    expect(at, &[AtomicUpdate], || cell.compare_exchange(4, 5, SeqCst, Relaxed));
    expect(at, &[AtomicUpdate], || cell.compare_exchange(4, 5, SeqCst, Relaxed));
    expect(at, &[AtomicLoad, AtomicUpdate], || cell.fetch_update(SeqCst, Relaxed, |old| Some(old + 1)));
    assert_eq!(cell.load(Relaxed), 6);
    let (byte, half, long) =
        (black_box(AtomicU8::new(1)), black_box(AtomicI16::new(-1)), black_box(AtomicU64::new(1)));
    expect(byte.as_ptr(), &[AtomicUpdate], || byte.fetch_or(6, Release));
    expect(half.as_ptr(), &[AtomicUpdate], || half.fetch_sub(6, Release));
    expect(long.as_ptr(), &[AtomicUpdate], || long.fetch_xor(6, Release));
    let (flag, pointer) = (black_box(AtomicBool::new(true)), black_box(AtomicPtr::new(at)));
    expect(flag.as_ptr(), &[AtomicUpdate], || flag.fetch_nand(true, AcqRel));
    expect(pointer.as_ptr(), &[AtomicLoad], || pointer.load(Acquire));
    let nowhere = std::ptr::null::<()>();
    expect(nowhere, &[Fence], || fence(SeqCst));
    expect(nowhere, &[Fence], || fence(Acquire));
    expect(nowhere, &[Fence], || compiler_fence(SeqCst));
    // SAFETY: the entry point of functions reads nothing.
    expect(nowhere, &[], || unsafe { __tsan_func_entry(nowhere.cast()) });
}

/// The sanitizer has no minimum and maximum; at `sync` the flags have them expanded to a compare-exchange.
fn extrema() {
    let cell = black_box(AtomicU32::new(0));
    expect(cell.as_ptr(), &[AtomicUpdate], || cell.fetch_max(3, SeqCst));
    assert_eq!(cell.load(Relaxed), 3);
}

fn accesses() {
    let (from, mut to) = (black_box([1u64; 9]), black_box([0u64; 9]));
    let (source, target) = (from.as_ptr(), to.as_mut_ptr());
    // SAFETY: both are valid, and as long as asked for.
    unsafe {
        expect(source, &[Load], || __tsan_read8(source));
        expect(target, &[Store], || __tsan_unaligned_write2(target));
        recorder::begin(1);
        __tsan_memmove(target.cast(), source.cast(), 64);
        __tsan_memset(target.cast(), 7, 8);
        let mut ticks = recorder::end();
        // At `memory`, the variables of this function tick as well.
        ticks.retain(|(address, _)| [source.addr(), target.addr()].contains(address));
        assert_eq!(ticks, [(source.addr(), Load), (target.addr(), Store), (target.addr(), Store)]);
    }
    assert_eq!(to, [0x0707_0707_0707_0707, 1, 1, 1, 1, 1, 1, 1, 0]);
}

#[inline(never)]
fn increment(cell: &mut u64) -> u64 {
    *cell += 1;
    *cell
}

#[inline(never)]
fn read(cell: &u64) -> u64 {
    *cell
}

#[inline(never)]
fn copy(to: &mut [u64; 64], from: &[u64; 64]) {
    *to = *from;
}

/// At `memory`, what the compiler inserts for plain code.
fn plain() {
    let mut cell = black_box(Box::new(1));
    let at = &raw const *cell;
    expect(at, &[Load], || read(&cell));
    recorder::begin(1);
    increment(&mut cell);
    // A read and a write of one place, with nothing between, are one tick.
    assert!(recorder::end().contains(&(at.addr(), Store)));
    let (from, mut to) = (black_box(Box::new([3; 64])), black_box(Box::new([0; 64])));
    let (source, target) = ((&raw const *from).addr(), (&raw const *to).addr());
    recorder::begin(1);
    copy(&mut to, &from);
    let ticks = recorder::end();
    assert!(ticks.contains(&(source, Load)) && ticks.contains(&(target, Store)), "{ticks:?}");
    assert_eq!(to, from);
}

/// Only the tick that brings the countdown to zero traps.
fn countdown() {
    let cells: [AtomicU64; 7] = black_box(Default::default());
    recorder::begin(3);
    // Unrolled by hand: a loop may tick itself where plain accesses do.
    cells[0].fetch_add(1, Relaxed);
    cells[1].fetch_add(1, Relaxed);
    cells[2].fetch_add(1, Relaxed);
    cells[3].fetch_add(1, Relaxed);
    cells[4].fetch_add(1, Relaxed);
    cells[5].fetch_add(1, Relaxed);
    cells[6].fetch_add(1, Relaxed);
    let ticks = recorder::end();
    assert_eq!(ticks, [(cells[2].as_ptr().addr(), AtomicUpdate), (cells[5].as_ptr().addr(), AtomicUpdate)]);
}

fn library(path: &str) {
    assert_eq!(recorder::hellos(), 1);
    let path = CString::new(path).unwrap();
    // SAFETY: the library runs nothing but the runtime's constructor; `bump` has this type.
    let bump: extern "C" fn(&AtomicU32) -> u32 = unsafe {
        let library = dlopen(path.as_ptr(), 2);
        assert!(!library.is_null());
        std::mem::transmute(dlsym(library, c"bump".as_ptr()))
    };
    assert_eq!(recorder::hellos(), 2, "each copy of the runtime says hello");
    let cell = black_box(AtomicU32::new(0));
    expect(cell.as_ptr(), &[AtomicUpdate], || bump(&cell));
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    atomics();
    accesses();
    match arguments[1].as_str() {
        "sync" => {
            extrema();
            countdown();
        }
        _ => plain(),
    }
    library(&arguments[2]);
}
