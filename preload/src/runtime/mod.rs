//! The runtime inside an instrumented program: the ABI of LLVM's and GCC's thread sanitizer, implemented as a clock.
//!
//! The compiler's `tsan` pass replaces each atomic operation by a call (`__tsan_atomic32_load` …) and, on request,
//! precedes each plain access that can be shared by one (`__tsan_read4` …). Here such a call is one *tick*, followed by
//! the operation itself. Outside the recorder a tick is a load and a branch.
//!
//! The object allocates nothing, calls nothing (libc included) and refers to no symbol but its own, so it links into
//! any program, whatever its linker, panic strategy, code model or libc. All entry points are hidden: an executable and
//! each shared object that it loads use the copy that was linked into them, and no copy can interpose another. The only
//! programs into which it cannot be linked are those with the real thread sanitizer, which has the same symbols.

mod access;
mod atomic;

use core::{
    arch::{asm, global_asm},
    mem::offset_of,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::layout::{AREA, SYS_HELLO, Shared, TICK};

/// Whether a recorder answered the constructor, which means that [`Shared`] is mapped. Forked children inherit both.
static RECORDED: AtomicBool = AtomicBool::new(false);

/// Runs before all other constructors, so that threads that they start are recorded too.
#[used]
#[unsafe(link_section = ".init_array.00000")]
static CONSTRUCTOR: extern "C" fn() = rrtest_hello;

global_asm!(".hidden rrtest_hello");
#[unsafe(no_mangle)]
extern "C" fn rrtest_hello() {
    let answer: isize;
    // SAFETY: no kernel does anything at a call with this number; the recorder's answer touches no memory that Rust
    // knows of.
    unsafe {
        asm!("syscall", inlateout("rax") SYS_HELLO => answer, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if answer == 1 {
        RECORDED.store(true, Relaxed);
    }
}

/// Ticks once: the coming operation on `address` may have to wait for other tasks.
///
/// The recorded path is laid out to fall through, since ticks are dense there: the other layout made recordings of
/// plain accesses 1.3 (debug) to 1.5 (release) times as slow.
///
/// The trap is inlined too: it is a handful of instructions, needs no registers saved around a call, and leaves no
/// trace on the stack, or anywhere but in the registers that a system call overwrites. If the buffer's code finds that
/// the task may go on, it leaves none even there: replay does not trap at such a tick. So the path to the trap must do
/// nothing that is not done at every tick, which is why the compiler sees one opaque block.
#[inline(always)]
fn tick<const KIND: u64, T>(address: *const T) {
    if !RECORDED.load(Relaxed) {
        return;
    }
    // SAFETY: the recorder maps the area before it answers the constructor, and lets only one task run at a time. It
    // may run other tasks meanwhile, which change memory as any other thread does.
    unsafe {
        asm!(
            "dec qword ptr [{countdown}]",
            "jz 2f",
            "3:",
            ".subsection 1",
            "2:",
            "mov qword ptr [{touched}], {address}",
            "mov qword ptr [{kind}], {KIND}",
            "mov qword ptr [{kept}], rax",
            "lea rax, [rip + 4f]",
            "jmp qword ptr [{tick}]",
            "4:",
            "syscall",
            "jmp 3b",
            ".previous",
            address = in(reg) address,
            countdown = const AREA + offset_of!(Shared, countdown),
            touched = const AREA + offset_of!(Shared, touched),
            kind = const AREA + offset_of!(Shared, kind),
            KIND = const KIND,
            kept = const AREA + offset_of!(Shared, kept),
            tick = const TICK,
            lateout("rax") _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
}

/// Defines an entry point: a C function with this name, visible only inside the program or library into which it is
/// linked.
macro_rules! entry {
    ($name:expr, ($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        // There is no stable attribute for visibility.
        core::arch::global_asm!(concat!(".hidden ", $name));
        const _: () = {
            #[unsafe(export_name = $name)]
            unsafe extern "C" fn entry($($argument: $type),*) $(-> $result)? $body
        };
    };
}
use entry;
