//! The system-call buffer: calls that a program makes without a stop.
//!
//! A patched call site jumps to its stub, and that to [`ENTRY`] with the stub's address in ecx. There the task changes to a
//! stack of ours, so that nothing on its own differs from what a call leaves. If the call is one that can neither wait nor
//! wake another task, it is made by the one `syscall` instruction that the filter lets through, and its outcome is
//! appended to the log; else the task goes on at its stub's own `syscall` instruction, which stops.
//!
//! In replay the same call sites lead to the same code, which takes the outcomes from the log. While that has entries the
//! next call is in it; when it has none the call stopped when it was recorded, and stops again.
//!
//! Nothing here keeps state but in the shared area. A task that hands the core over to another ([`hand_over`]) leaves the stack
//! before that: one serves all.

mod hand_over;
mod reads;
mod record;
mod replay;

use core::arch::{asm, global_asm};

use crate::calls::{Out, gives};
use crate::layout::{
    AREA, AREA_LEN, BUFFER, ENTRY, Entry, LOG, Mode, PARKED, READ, STACK, STUB_DONE, STUB_TRACED, SYS_TICK,
    Shared, TABLE, TICK, UNTRACED,
};
use crate::objects::{Objects, place};

// Only rcx and r11 are free at a call site: the kernel overwrites them. The flags must not be touched before they are saved.
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
    // As the kernel leaves it.
    "    mov r11, qword ptr [rsp]",
    "    popfq",
    "    xchg rsp, qword ptr [{parked}]",
    "    jmp rcx",
    parked = const SP,
    hook = sym hook,
);

// No flag is wanted at a tick. Where the program goes on without a stop, all must be as if it had not come here.
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
    "    mov eax, {number}",
    "    jz 2f",
    // The flags that counting down has left in replay, where this is no end of a countdown: `left` is that then.
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

/// Where the program's stack pointer is, while this code runs.
const SP: usize = AREA + core::mem::offset_of!(Shared, parked);

// The addresses that the recorder and the runtime know.
const _: () = assert!(UNTRACED == BUFFER + 2 && TICK == BUFFER + 8 && PARKED == TICK + 8);
const _: () = assert!(READ == PARKED + 8 && ENTRY == READ + 8);
const _: () = assert!((STACK - size_of::<Frame>() - 8).is_multiple_of(16));

/// The registers that a call site passes, as they are on our stack.
#[repr(C)]
struct Frame {
    /// The call's number; its result.
    rax: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    r10: u64,
    r8: u64,
    r9: u64,
    /// The stub's address; where to go on.
    target: u64,
    flags: u64,
}

impl Frame {
    fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// What tells this call from others of its number. The outcome of some depends on what is at an address, which is not
    /// looked at.
    fn check_arguments(&self) -> u16 {
        (self.digest() >> 48) as u16
    }

    /// The same with the bytes that the call has written: `result` of them.
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

/// The golden ratio in 64 bits: every bit of what it multiplies reaches the high ones.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What became of a call.
enum Made {
    /// It is to be made with a stop.
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

/// A task has come to a call. The address of its slot, if it is to hand the core over; or 0.
extern "C" fn hook(frame: &mut Frame) -> u64 {
    let shared = shared();
    let made = if shared.mode == Mode::Record as u64 {
        record::call(shared, frame)
    } else if shared.mode == Mode::Replay as u64 {
        replay::call(shared, frame)
    } else {
        Made::No
    };
    frame.target += if let Made::No = made { STUB_TRACED } else { STUB_DONE } as u64;
    if let Made::Waits = made { hand_over::park(shared, frame) } else { 0 }
}

/// The countdown has reached zero at a tick. How far behind the beginning of the runtime's `syscall` instruction the task
/// goes on: nothing if the scheduler is to be asked.
extern "C" fn ticked() -> u64 {
    const SYSCALL_LEN: u64 = 2;
    let shared = shared();
    if shared.watch.on == 0 {
        return 0;
    }
    // One step, as in `tick`.
    if count_down(&mut shared.left) {
        return 0;
    }
    if look(shared, shared.touched, shared.kind) {
        return 0;
    }
    shared.countdown = 1;
    SYSCALL_LEN
}

/// A watched task is about to touch something. Whether it is to stop before that.
fn look(shared: &mut Shared, address: u64, kind: u64) -> bool {
    // SAFETY: the table is there, with numbers in it, and nothing else refers to it while this code runs.
    let objects = unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Objects>(TABLE) };
    shared.watch.stops(&mut objects[place(address)], address, kind)
}

fn shared() -> &'static mut Shared {
    // SAFETY: the recorder has mapped the area before anything jumps here, and lets only one task run at a time; nothing
    // else in this code makes such a reference.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Shared>(AREA) }
}

/// Take the tick of a call, unless it is the last of the timeslice: then the scheduler is to be asked.
fn tick(shared: &mut Shared) -> bool {
    let left = countdown(shared);
    let last = count_down(left);
    if last {
        *left = 1;
    }
    !last
}

/// Count one tick down. Whether it was the last.
///
/// A signal may stop the task anywhere, and the recorder then sets the countdown to one: what it sets would be lost between a
/// look and a step, so it is one instruction. A countdown of zero the recorder leaves alone.
fn count_down(left: &mut u64) -> bool {
    let last: u8;
    // SAFETY: it changes that number only, which nobody else in this process refers to.
    unsafe {
        asm!("dec qword ptr [{left}]", "setz {last}", left = in(reg) left, last = out(reg_byte) last, options(nostack));
    }
    last != 0
}

/// The running task's countdown.
fn countdown(shared: &mut Shared) -> &mut u64 {
    if shared.watch.on == 0 { &mut shared.countdown } else { &mut shared.left }
}

/// Make a call that does not stop.
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

/// Copy bytes between the program's memory and the log. False if the program's cannot be accessed.
fn copy(shared: &mut Shared, from: u64, to: u64, len: usize) -> bool {
    // SAFETY: one side is in the log, where there is room; the other is memory of the program, which it has passed to a
    // call. If that faults, the recorder skips the instruction, which is of [`FAULTING_LEN`] bytes.
    unsafe {
        asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    !faulted(shared)
}

/// The words of so many bytes at an address, the last one filled up with zeros. It must be possible to read them.
fn words(address: u64, len: usize) -> impl Iterator<Item = u64> {
    const WORD: usize = size_of::<u64>();
    let at = core::ptr::with_exposed_provenance::<u8>(address as usize);
    (0..len).step_by(WORD).map(move |offset| {
        // SAFETY: the bytes can be read: that is the caller's to know.
        unsafe {
            if len - offset >= WORD {
                at.add(offset).cast::<u64>().read_unaligned()
            } else {
                (offset..len).rev().fold(0, |word, byte| word << 8 | u64::from(at.add(byte).read()))
            }
        }
    })
}

/// The word at an address of the program's; none if it cannot be read.
fn word(shared: &mut Shared, address: u64) -> Option<u32> {
    let word;
    // SAFETY: as above.
    unsafe {
        asm!("mov eax, dword ptr [rdi]", in("rdi") address, lateout("eax") word, options(nostack, preserves_flags))
    };
    (!faulted(shared)).then_some(word)
}

/// Whether the program's memory at an address can be written.
fn is_writable(shared: &mut Shared, address: u64) -> bool {
    // SAFETY: as above. What is there stays as it is, and nobody else runs.
    unsafe { asm!("or byte ptr [rdi], al", in("rdi") address, in("al") 0_u8, options(nostack)) };
    !faulted(shared)
}

/// Whether the recorder has skipped an instruction that faulted.
fn faulted(shared: &mut Shared) -> bool {
    // The recorder writes it.
    // SAFETY: it is a field of ours.
    unsafe {
        let faulted = (&raw const shared.faulted).read_volatile() != 0;
        if faulted {
            shared.faulted = 0;
        }
        faulted
    }
}

/// What a call returns that cannot write all that it has to.
const EFAULT: i64 = 14;

/// Where the kernel writes, and how many bytes: on success, or at most, if it cannot write all.
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

/// Whether a range of memory and the area have a part in common.
fn is_ours(address: u64, len: u64) -> bool {
    address < (AREA + AREA_LEN) as u64 && address.saturating_add(len) > AREA as u64
}

/// The entry that starts at an offset in the log, and the address of its payload.
fn entry(at: u64) -> (*mut Entry, u64) {
    let address = LOG + at as usize;
    (core::ptr::with_exposed_provenance_mut(address), (address + size_of::<Entry>()) as u64)
}

#[cfg(rrtest_image)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // There is no code that panics; this would be a fault in it, of which the recorder tells.
    loop {
        // SAFETY: the instruction touches no memory.
        unsafe { asm!("ud2") };
    }
}
