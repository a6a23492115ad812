//! The rustc flags that make code call the runtime, and those that compile the runtime itself.
//!
//! These are stable flags that pass options to LLVM, whose passes are not stable: a toolchain may refuse them.
//!
//! Some code has no ticks whatever the flags: the standard library's precompiled code (contended paths, `park`, and,
//! without optimisation, the few generics that rustc takes from it, like `Mutex<Vec<u8>>::lock`), libraries built
//! elsewhere, and inline assembly. Under `lto`, precompiled code may be inlined into instrumented functions, and still
//! has no ticks. The passes run once per codegen unit, before link-time optimisation, so nothing ticks twice.

/// Instruments atomic operations and fences only (`--preempt sync`).
///
/// The sanitizer's pass leaves out what its ABI has no entry point for (`fetch_max` and `fetch_min`), and instruments
/// atomic operations whether or not their function asks to be sanitized. So it runs first for what it knows; then the
/// rest is expanded to compare-exchange loops; then it runs for those. Its module pass would only add a constructor to
/// each object that calls `__tsan_init`.
pub const SYNC: &[&str] =
    &["-Cpasses=tsan,atomic-expand,tsan", "-Cllvm-args=-tsan-instrument-func-entry-exit=0"];

/// Also instruments plain accesses that can be shared (`--preempt memory`).
///
/// They are instrumented only in functions with the attribute. The option forces it at the start of LLVM's pipeline; an
/// unoptimised pipeline has no such step, hence `forceattrs`. A second `tsan` would instrument plain accesses twice, so
/// here `fetch_max` and `fetch_min` do not tick.
pub const MEMORY: &[&str] = &[
    "-Cpasses=forceattrs,tsan",
    "-Cllvm-args=-force-attribute=sanitize_thread",
    "-Cllvm-args=-tsan-instrument-func-entry-exit=0",
];

/// Compiles this crate's `lib.rs` to the runtime: one object without undefined symbols.
pub const RUNTIME: &[&str] = &[
    "--edition=2024",
    "--crate-type=lib",
    "--crate-name=rrtest_preload",
    "--cfg=feature=\"runtime\"",
    "--cfg=rrtest_image",
    "--emit=obj",
    "-Cpanic=abort",
    "-Copt-level=3",
    "-Ccodegen-units=1",
];

/// Compiles this crate's `lib.rs` to the system-call buffer: the bytes of its code, for [`crate::layout::BUFFER`].
///
/// The kernel preserves the vector registers, so the code must not use any, which the attribute says. It must be
/// forced, as the target has them.
pub const BUFFER: &[&str] = &[
    "--edition=2024",
    "--crate-type=bin",
    "--crate-name=rrtest_buffer",
    "--cfg=feature=\"buffer\"",
    "--cfg=rrtest_image",
    "-Cpanic=abort",
    "-Copt-level=3",
    "-Ccodegen-units=1",
    "-Crelocation-model=static",
    "-Cpasses=forceattrs",
    "-Cllvm-args=-force-attribute=noimplicitfloat",
    "-Clink-args=-nostartfiles -nostdlib -static -no-pie -Wl,--oformat=binary -Wl,--gc-sections -Wl,--build-id=none",
];
