//! The system-call buffer: calls that a program makes without a stop.
//!
//! A patched call site jumps to its stub, and that to [`ENTRY`] with the stub's address in ecx. There the task changes
//! to the buffer's stack, so that its own stack is as a call leaves it. A call that can neither wait nor wake another
//! task is made by the one `syscall` instruction that the filter lets through, and its outcome is appended to the log.
//! For other calls the task goes on at its stub's own `syscall` instruction, which stops.
//!
//! In replay the same call sites lead to the same code, which takes the outcomes from the log. As long as the log has
//! entries, the next call is in it. When it has none, the call stopped when it was recorded, and stops again.
//!
//! All state is in the shared area. A task that hands the core to another ([`hand_over`]) leaves the stack before that:
//! one stack serves all tasks.

mod hand_over;
mod reads;
mod record;
mod replay;

use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use crate::calls::{Out, gives};
use crate::layout::{
    AREA, AREA_LEN, BUFFER, ENTRY, Entry, LOG, MOVED_TICK, Mode, PARKED, READ, STACK, STUB_DONE, STUB_TRACED,
    SYS_TICK, Shared, TABLE, TICK, UNTRACED,
};
use crate::objects::{Objects, place};

// Only rcx and r11, which the kernel overwrites, are free at a call site. The flags must not change before they are
// saved.
global_asm!(
    ".section .header, \"ax\"",
    ".globl rrtest_buffer",
    "rrtest_buffer:",
    "untraced:",
    "    syscall",
    "    ret",
    ".balign 8, 0xcc",
    "    .quad ticked",
    "    .quad parked",
    "    .quad rrtest_read",
    "entry:",
    "    xchg rsp, qword ptr [{parked}]",
    "    pushfq",
    "    cld",
    "    push rcx",
    "    push r9",
    "    push r8",
    "    push r10",
    "    push rdx",
    "    push rsi",
    "    push rdi",
    "    push rax",
    "    sub rsp, 8",
    "    lea rdi, [rsp + 8]",
    "    call {hook}",
    "    test rax, rax",
    "    jnz park",
    "    add rsp, 8",
    "    pop rax",
    "    pop rdi",
    "    pop rsi",
    "    pop rdx",
    "    pop r10",
    "    pop r8",
    "    pop r9",
    "    pop rcx",
    // The kernel leaves the flags in r11.
    "    mov r11, qword ptr [rsp]",
    "    popfq",
    "    xchg rsp, qword ptr [{parked}]",
    "    jmp rcx",
    parked = const SP,
    hook = sym hook,
);

// A tick needs no flags. If the program goes on without a stop, everything must be as if it had not come here.
global_asm!(
    ".section .header, \"ax\"",
    "ticked:",
    "    mov qword ptr [{sp}], rsp",
    "    mov esp, {stack}",
    "    push rax",
    "    push rcx",
    "    push rdx",
    "    push rsi",
    "    push rdi",
    "    push r8",
    "    push r9",
    "    push r10",
    "    push r11",
    "    sub rsp, 8",
    "    call {hook}",
    "    add rsp, 8",
    "    add qword ptr [rsp + 64], rax",
    "    test rax, rax",
    "    pop r11",
    "    pop r10",
    "    pop r9",
    "    pop r8",
    "    pop rdi",
    "    pop rsi",
    "    pop rdx",
    "    pop rcx",
    "    pop qword ptr [{back}]",
    "    mov rsp, qword ptr [{sp}]",
    "    movabs rax, {number}",
    "    jz 2f",
    // Sets the flags as in replay, where the countdown does not end here: its value is `left`.
    "    mov rax, qword ptr [{left}]",
    "    test rax, rax",
    "    inc rax",
    "    dec rax",
    "    mov rax, qword ptr [{kept}]",
    "2:  jmp qword ptr [{back}]",
    sp = const AREA + core::mem::offset_of!(Shared, sp),
    back = const AREA + core::mem::offset_of!(Shared, back),
    kept = const AREA + core::mem::offset_of!(Shared, kept),
    left = const AREA + core::mem::offset_of!(Shared, left),
    stack = const STACK,
    number = const SYS_TICK,
    hook = sym ticked,
);

// A tick of an operation that has been moved to a stub. The stub has kept the registers.
global_asm!(
    ".section .header.tick, \"ax\"",
    ".balign 1024, 0xcc",
    "moved_tick:",
    "    mov qword ptr [{touched}], rax",
    "    movzx eax, byte ptr [rcx - 1]",
    "    mov qword ptr [{kind}], rax",
    "    mov eax, ecx",
    "    jmp ticked",
    touched = const AREA + core::mem::offset_of!(Shared, touched),
    kind = const AREA + core::mem::offset_of!(Shared, kind),
);

/// Address of the program's stack pointer while this code runs.
const SP: usize = AREA + core::mem::offset_of!(Shared, parked);

// The recorder and the runtime know these addresses.
const _: () = assert!(UNTRACED == BUFFER + 2 && TICK == BUFFER + 8 && PARKED == TICK + 8);
const _: () = assert!(READ == PARKED + 8 && ENTRY == READ + 8 && MOVED_TICK == BUFFER + 1024);
const _: () = assert!((STACK - size_of::<Frame>() - 8).is_multiple_of(16));

/// The registers that a call site passes, as they are on the buffer's stack.
#[repr(C)]
struct Frame {
    /// The call's number, later its result.
    rax: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    r10: u64,
    r8: u64,
    r9: u64,
    /// The stub's address, later where to go on.
    target: u64,
    flags: u64,
}

impl Frame {
    fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Computes a digest of the arguments. It does not cover what is at an address, on which the outcome of some calls
    /// depends.
    fn check_arguments(&self) -> u16 {
        (self.digest() >> 48) as u16
    }

    /// Computes a digest of the arguments and of the bytes that the call has written, of which there are `result`.
    fn check(&self, result: i64) -> u16 {
        let mut digest = self.digest();
        if gives(self.rax) && result > 0 {
            for word in words(self.rsi, result as usize) {
                digest = (digest ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
            }
        }
        (digest >> 48) as u16
    }

    fn digest(&self) -> u64 {
        let mut digest = 0_u64;
        for argument in [self.rdi, self.rsi, self.rdx] {
            digest = (digest ^ argument).wrapping_mul(MULTIPLIER);
        }
        digest
    }
}

/// The golden ratio in 64 bits: every bit of a number multiplied by it affects the high bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What has become of a call.
enum Made {
    /// It must be made with a stop.
    No,
    /// It has been made.
    Yes,
    /// It waits: the core is handed over.
    Waits,
}

impl Made {
    fn if_so(made: bool) -> Self {
        if made { Self::Yes } else { Self::No }
    }
}

/// Handles a call that a task has come to. Returns the address of the task's slot if it is to hand the core over,
/// otherwise 0.
extern "C" fn hook(frame: &mut Frame) -> u64 {
    let shared = shared();
    let made = if shared.mode.get() == Mode::Record as u64 {
        record::call(shared, frame)
    } else if shared.mode.get() == Mode::Replay as u64 {
        replay::call(shared, frame)
    } else {
        Made::No
    };
    frame.target += if let Made::No = made { STUB_TRACED } else { STUB_DONE } as u64;
    if let Made::Waits = made { hand_over::park(shared, frame) } else { 0 }
}

/// Handles a tick at which the countdown has reached zero. Returns how far after the beginning of the runtime's
/// `syscall` instruction the task goes on: 0 if the scheduler is to be asked.
extern "C" fn ticked() -> u64 {
    const SYSCALL_LEN: u64 = 2;
    let shared = shared();
    if shared.watch.get().on == 0 {
        return 0;
    }
    // One instruction, as in `tick`.
    if count_down(&shared.left) {
        return 0;
    }
    if look(shared, shared.touched.get(), shared.kind.get()) {
        return 0;
    }
    shared.countdown.store(1, Relaxed);
    SYSCALL_LEN
}

/// Looks at an access that a watched task is about to make. Returns whether the task is to stop first.
fn look(shared: &Shared, address: u64, kind: u64) -> bool {
    // SAFETY: the table is mapped and contains only numbers, and nothing else refers to it while this code runs.
    let objects = unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Objects>(TABLE) };
    // SAFETY: as for the table; the recorder sets it only at a decision.
    let watch = unsafe { &mut *shared.watch.as_ptr() };
    watch.stops(&mut objects[place(address)], address, kind)
}

fn shared() -> &'static Shared {
    // SAFETY: the recorder has mapped the area before anything jumps here. All fields can change behind the reference: the
    // recorder changes those that are not atomic only while no task runs.
    unsafe { &*core::ptr::with_exposed_provenance::<Shared>(AREA) }
}

/// Counts the tick of a call, unless it is the last of the timeslice: then the scheduler is to be asked. Returns
/// whether it has.
fn tick(shared: &Shared) -> bool {
    let left = countdown(shared);
    let last = count_down(left);
    if last {
        left.store(1, Relaxed);
    }
    !last
}

/// Counts one tick down. Returns whether it was the last.
///
/// A signal may stop the task anywhere, and the recorder then sets the countdown to one. This would be lost between a
/// read and a write, so it is one instruction. The recorder does not change a countdown of zero.
fn count_down(left: &AtomicU64) -> bool {
    let last: u8;
    // SAFETY: it changes only that number, which may change behind the reference.
    unsafe {
        asm!("dec qword ptr [{left}]", "setz {last}", left = in(reg) left.as_ptr(), last = out(reg_byte) last, options(nostack));
    }
    last != 0
}

/// Returns the running task's countdown.
fn countdown(shared: &Shared) -> &AtomicU64 {
    if shared.watch.get().on == 0 { &shared.countdown } else { &shared.left }
}

/// Makes a call that does not stop.
fn kernel(number: u64, args: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the program has asked for this call with these arguments.
    unsafe {
        asm!(
            "call rrtest_buffer",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Copies bytes between the program's memory and the log. Returns false if the program's memory cannot be accessed.
fn copy(shared: &Shared, from: u64, to: u64, len: usize) -> bool {
    // SAFETY: one side is in the log, where there is room; the other is memory of the program, which it has passed to a
    // call. If that faults, the recorder skips the instruction, which has [`FAULTING_LEN`] bytes.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    !faulted(shared)
}

/// Iterates over the words of `len` bytes at an address, the last one padded with zeros. They must be readable.
fn words(address: u64, len: usize) -> impl Iterator<Item = u64> {
    const WORD: usize = size_of::<u64>();
    let at = core::ptr::with_exposed_provenance::<u8>(address as usize);
    (0..len).step_by(WORD).map(move |offset| {
        // SAFETY: the caller makes sure that the bytes are readable.
        unsafe {
            if len - offset >= WORD {
                at.add(offset).cast::<u64>().read_unaligned()
            } else {
                (offset..len).rev().fold(0, |word, byte| word << 8 | u64::from(at.add(byte).read()))
            }
        }
    })
}

/// The longest path with its end (limits.h).
const PATH_MAX: usize = 4096;

/// Returns the length of a path in the program's memory, which must be readable up to its end.
fn path_len(path: u64) -> usize {
    let path = core::ptr::with_exposed_provenance::<u8>(path as usize);
    let mut len = 0;
    // SAFETY: the bytes before it are the path's, and not its end. Volatile, so that this does not become a call to strlen.
    while len < PATH_MAX && unsafe { path.add(len).read_volatile() } != 0 {
        len += 1;
    }
    len
}

/// Reads a word of the program's memory. Returns `None` if it is not readable.
fn word(shared: &Shared, address: u64) -> Option<u32> {
    let word;
    // SAFETY: as above.
    unsafe {
        asm!("mov eax, dword ptr [rdi]", in("rdi") address, lateout("eax") word, options(nostack, preserves_flags))
    };
    (!faulted(shared)).then_some(word)
}

/// Whether the program's memory at an address is writable.
fn is_writable(shared: &Shared, address: u64) -> bool {
    // SAFETY: as above. The contents do not change, and no other task runs.
    unsafe { asm!("or byte ptr [rdi], al", in("rdi") address, in("al") 0_u8, options(nostack)) };
    !faulted(shared)
}

/// Whether the recorder has skipped an instruction that faulted.
fn faulted(shared: &Shared) -> bool {
    let faulted = shared.faulted.load(Relaxed) != 0;
    if faulted {
        shared.faulted.store(0, Relaxed);
    }
    faulted
}

/// Result (negated) of a call that could not write everything.
const EFAULT: i64 = 14;

/// Returns the address and number of bytes that the kernel writes: on success, or at most, if it could not write
/// everything.
fn written(out: Out, args: &[u64; 6], result: i64) -> (u64, usize) {
    let argument = |at: u8| args.get(usize::from(at)).copied().unwrap_or(0);
    match out {
        Out::Nothing => (0, 0),
        Out::Returned(at) if result == -EFAULT => (argument(at), argument(at + 1) as usize),
        _ if result < 0 && result != -EFAULT => (0, 0),
        Out::Returned(at) => (argument(at), result as usize),
        Out::Fixed(at, len) => (argument(at), if argument(at) == 0 { 0 } else { usize::from(len) }),
    }
}

/// Whether a range of memory overlaps the area.
fn is_ours(address: u64, len: u64) -> bool {
    address < (AREA + AREA_LEN) as u64 && address.saturating_add(len) > AREA as u64
}

/// Returns the entry at an offset in the log, and the address of its payload.
fn entry(at: u64) -> (*mut Entry, u64) {
    let address = LOG + at as usize;
    (core::ptr::with_exposed_provenance_mut(address), (address + size_of::<Entry>()) as u64)
}

#[cfg(rrtest_image)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No code panics; if it did, the recorder would report this fault.
    loop {
        // SAFETY: the instruction touches no memory.
        unsafe { asm!("ud2") };
    }
}
