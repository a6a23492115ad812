//! Instructions that read what must be the same in replay ([`crate::reads`]). They have been moved to stubs, which call
//! this code.
//!
//! Nothing is free at such an instruction, neither a register nor the flags nor the stack below the stack pointer
//! (System V ABI, AMD64 supplement, 3.2.2: the red zone). So a stub first changes to the buffer's stack, and all
//! registers are saved here.
//!
//! What is read is logged like calls. If there is no room, or the recorder must know first (see [`Shared::starting`]),
//! the task stops with [`SYS_READ`] and tries again. In replay it stops at the same place, as the log ends there.

use core::arch::global_asm;
use core::arch::x86_64::_rdtsc;
use core::mem::offset_of;

use super::{MULTIPLIER, entry, shared};
use crate::layout::{Entry, LOG_LEN, Mode, STACK, SYS_READ, Shared, register};
use crate::processor::{Processor, machine_cpuid, machine_xgetbv};
use crate::random::draw;
use crate::reads::{Read, What, shown};

// The registers are pushed so that they lie in the order of their numbers. At the stop all are the program's, except
// those that a call overwrites; what was pushed stays below the stack pointer.
global_asm!(
    ".section .header.read, \"ax\"",
    "rrtest_read:",
    "    pushfq",
    "    cld",
    "    push r15",
    "    push r14",
    "    push r13",
    "    push r12",
    "    push r11",
    "    push r10",
    "    push r9",
    "    push r8",
    "    push rdi",
    "    push rsi",
    "    push rbp",
    "    push rsp",
    "    push rbx",
    "    push rdx",
    "    push rcx",
    "    push rax",
    "3:  mov rdi, rsp",
    "    sub rsp, 8",
    "    call {hook}",
    "    add rsp, 8",
    "    test eax, eax",
    "    pop rax",
    "    pop rcx",
    "    pop rdx",
    "    pop rbx",
    "    pop rsi", // the stack pointer
    "    pop rbp",
    "    pop rsi",
    "    pop rdi",
    "    pop r8",
    "    pop r9",
    "    pop r10",
    "    pop r11",
    "    pop r12",
    "    pop r13",
    "    pop r14",
    "    pop r15",
    "    jnz 2f",
    "    popfq",
    "    ret 8",
    "2:  popfq",
    "    movabs rax, {number}",
    "    syscall",
    "    lea rsp, [rsp - {saved}]",
    "    jmp 3b",
    number = const SYS_READ,
    saved = const offset_of!(Frame, back),
    hook = sym hook,
);

/// The program's registers, as they are on the buffer's stack.
#[repr(C)]
struct Frame {
    /// By number. The stack pointer is not the program's.
    registers: [u64; 16],
    flags: u64,
    /// Where in the stub to go on.
    back: u64,
    /// The instruction: a [`What`].
    what: u64,
}

const _: () = assert!((STACK - size_of::<Frame>() - 8).is_multiple_of(16));

/// Reads, and finishes the instruction. Returns whether the task is to stop, and to try again.
extern "C" fn hook(frame: &mut Frame) -> bool {
    let shared = shared();
    let what = What::of_word(frame.what);
    if what.linker && matches!(what.read, Read::Counter | Read::CounterAndCore) {
        /// The linker uses these only for statistics, so it suffices that time passes.
        const STEP: u64 = 1000;
        shared.linked.set(shared.linked.get() + STEP);
        frame.finish(what, Outcome { value: shared.linked.get(), more: [0; 4] });
        return false;
    }
    let outcome = if shared.mode.get() == Mode::Replay as u64 {
        take(shared, frame, what)
    } else {
        log(shared, frame, what)
    };
    match outcome {
        Some(outcome) => {
            frame.finish(what, outcome);
            false
        }
        None => true,
    }
}

/// What was read: a word, and what cpuid writes to its registers, or the core's number.
#[derive(Clone, Copy)]
struct Outcome {
    value: u64,
    more: [u32; 4],
}

/// Reads and logs it. Returns `None` if the recorder must be asked.
fn log(shared: &Shared, frame: &Frame, what: What) -> Option<Outcome> {
    let payload = if matches!(what.read, Read::Processor | Read::CounterAndCore) { PAYLOAD } else { 0 };
    let left = LOG_LEN as u64 - shared.cursor.get();
    if shared.starting.get() != 0 && what.read.varies() || Entry::size(payload) as u64 > left {
        return None;
    }
    let outcome = read(shared, frame, what);
    let (at, behind) = entry(shared.cursor.get());
    let (number, check) = (what.read.number(), frame.check());
    // SAFETY: there is room for both. Entries start at multiples of 8.
    unsafe {
        *at = Entry { payload: payload as u32, number, check, result: outcome.value.cast_signed() };
        if payload > 0 {
            *core::ptr::with_exposed_provenance_mut::<[u32; 4]>(behind as usize) = outcome.more;
        }
    }
    shared.cursor.set(shared.cursor.get() + Entry::size(payload) as u64);
    Some(outcome)
}

/// Bytes of what is read beyond a word.
const PAYLOAD: usize = size_of::<[u32; 4]>();

fn read(shared: &Shared, frame: &Frame, what: What) -> Outcome {
    let core = u64::from(shared.affinity.get().trailing_zeros() & 63);
    let (value, more) = match what.read {
        Read::Counter => (counter(shared), [0; 4]),
        Read::CounterAndCore => (counter(shared), [core as u32, 0, 0, 0]),
        Read::Random => {
            let mut state = shared.random.get();
            let drawn = draw(&mut state);
            shared.random.set(state);
            (drawn, [0; 4])
        }
        Read::Core => (core, [0; 4]),
        Read::Processor => (0, cpuid(shared, frame)),
        Read::States => (xgetbv(shared, frame), [0; 4]),
    };
    Outcome { value, more }
}

/// Returns the machine's counter, ahead by as much as the program's clocks.
fn counter(shared: &Shared) -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    let machine = unsafe { _rdtsc() };
    let ahead = (u128::from(shared.ahead.get()) * u128::from(shared.rate.get())) >> 32;
    machine.wrapping_add(ahead as u64)
}

/// The processor that the program sees.
fn processor(shared: &Shared) -> Processor {
    Processor::of(shared.processor.get() as u8).unwrap_or_default()
}

fn cpuid(shared: &Shared, frame: &Frame) -> [u32; 4] {
    let [leaf, subleaf] = [register::RAX, register::RCX].map(|it| frame.registers[it] as u32);
    shown(processor(shared), leaf, subleaf, machine_cpuid(leaf, subleaf))
}

fn xgetbv(shared: &Shared, frame: &Frame) -> u64 {
    processor(shared).xgetbv(machine_xgetbv(frame.registers[register::RCX] as u32))
}

/// Takes what was read from the log. Returns `None` at the end of the log: the task stopped there when it was recorded.
fn take(shared: &Shared, frame: &Frame, what: What) -> Option<Outcome> {
    if shared.cursor.get() >= shared.end.get() {
        return None;
    }
    let (at, behind) = entry(shared.cursor.get());
    // SAFETY: the replayer has put entries there, up to the end.
    let Entry { payload, number, check, result } = unsafe { *at };
    if number != what.read.number() || check != frame.check() {
        // The replayer notices the entries that are left.
        return None;
    }
    let mut more = [0; 4];
    if payload as usize == PAYLOAD {
        // SAFETY: as above; the replayer has made sure that the payload is there.
        more = unsafe { *core::ptr::with_exposed_provenance::<[u32; 4]>(behind as usize) };
    }
    shared.cursor.set(shared.cursor.get() + Entry::size(payload as usize) as u64);
    Some(Outcome { value: result.cast_unsigned(), more })
}

impl Frame {
    /// Computes a digest of the read: where it stands, and cpuid's arguments.
    fn check(&self) -> u16 {
        let asked = match What::of_word(self.what).read {
            Read::Processor | Read::States => {
                self.registers[register::RAX] << 32 | self.registers[register::RCX] & 0xffff_ffff
            }
            _ => 0,
        };
        let digest = (self.back ^ asked.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
        (digest >> 48) as u16
    }

    fn finish(&mut self, what: What, Outcome { value, more }: Outcome) {
        self.flags = what.finish(&mut self.registers, self.flags, value, more);
    }
}
