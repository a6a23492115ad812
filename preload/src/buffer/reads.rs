//! Instructions that read what must be the same in replay ([`crate::reads`]): moved to stubs, which come here.
//!
//! Nothing is free at such an instruction, neither a register nor the flags nor the stack below the stack pointer (System V ABI,
//! AMD64 supplement, 3.2.2: the red zone). So a stub changes to our stack first, and here all registers are saved.
//!
//! What is read is logged, as calls are. Where there is no room, or the recorder is to know before (see [`Shared::starting`]), the
//! task stops with [`SYS_READ`] and looks again; in replay it stops at the same place, as there the log has come to its end.

use core::arch::global_asm;
use core::arch::x86_64::{__cpuid_count, _rdtsc};
use core::mem::offset_of;

use super::{MULTIPLIER, entry, shared};
use crate::layout::{Entry, LOG_LEN, Mode, STACK, SYS_READ, Shared, register};
use crate::random::draw;
use crate::reads::{Read, What, same_on_all_cores};

// The registers are pushed so that they lie in the order of their numbers. At the stop all are the program's, but for those that
// a call overwrites; what was pushed stays below the stack pointer.
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
    "    mov eax, {number}",
    "    syscall",
    "    lea rsp, [rsp - {saved}]",
    "    jmp 3b",
    number = const SYS_READ,
    saved = const offset_of!(Frame, back),
    hook = sym hook,
);

/// The program's registers, as they are on our stack.
#[repr(C)]
struct Frame {
    /// By their numbers; that of the stack pointer is not the program's.
    registers: [u64; 16],
    flags: u64,
    /// Where in the stub to go on.
    back: u64,
    /// Which instruction it is: a [`What`].
    what: u64,
}

const _: () = assert!((STACK - size_of::<Frame>() - 8).is_multiple_of(16));

/// Whether the task is to stop, and to look again.
extern "C" fn hook(frame: &mut Frame) -> bool {
    let shared = shared();
    let what = What::of_word(frame.what);
    if what.linker && matches!(what.read, Read::Counter | Read::CounterAndCore) {
        /// Of which not even statistics tell anything, but that time has passed.
        const STEP: u64 = 1000;
        shared.linked += STEP;
        frame.finish(what, Outcome { value: shared.linked, more: [0; 4] });
        return false;
    }
    let outcome =
        if shared.mode == Mode::Replay as u64 { take(shared, frame, what) } else { log(shared, frame, what) };
    match outcome {
        Some(outcome) => {
            frame.finish(what, outcome);
            false
        }
        None => true,
    }
}

/// What was read: one word, and what cpuid writes to its registers, or the core's number.
#[derive(Clone, Copy)]
struct Outcome {
    value: u64,
    more: [u32; 4],
}

/// Read, and log it. None if the recorder has to be asked.
fn log(shared: &mut Shared, frame: &Frame, what: What) -> Option<Outcome> {
    let payload = if matches!(what.read, Read::Processor | Read::CounterAndCore) { PAYLOAD } else { 0 };
    let left = LOG_LEN as u64 - shared.cursor;
    if shared.starting != 0 && what.read.varies() || Entry::size(payload) as u64 > left {
        return None;
    }
    let outcome = read(shared, frame, what);
    let (at, behind) = entry(shared.cursor);
    let (number, check) = (what.read.number(), frame.check());
    // SAFETY: there is room for both. Entries start at multiples of 8.
    unsafe {
        *at = Entry { payload: payload as u32, number, check, result: outcome.value.cast_signed() };
        if payload > 0 {
            *core::ptr::with_exposed_provenance_mut::<[u32; 4]>(behind as usize) = outcome.more;
        }
    }
    shared.cursor += Entry::size(payload) as u64;
    Some(outcome)
}

/// Bytes of what there is more than a word.
const PAYLOAD: usize = size_of::<[u32; 4]>();

fn read(shared: &mut Shared, frame: &Frame, what: What) -> Outcome {
    let core = u64::from(shared.affinity.trailing_zeros() & 63);
    let (value, more) = match what.read {
        Read::Counter => (counter(shared), [0; 4]),
        Read::CounterAndCore => (counter(shared), [core as u32, 0, 0, 0]),
        Read::Random => (draw(&mut shared.random), [0; 4]),
        Read::Core => (core, [0; 4]),
        Read::Processor => (0, processor(frame)),
    };
    Outcome { value, more }
}

/// The machine's counter, ahead by as much as the program's clocks are.
fn counter(shared: &Shared) -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    let machine = unsafe { _rdtsc() };
    let ahead = (u128::from(shared.ahead) * u128::from(shared.rate)) >> 32;
    machine.wrapping_add(ahead as u64)
}

fn processor(frame: &Frame) -> [u32; 4] {
    let leaf = frame.registers[register::RAX] as u32;
    let it = __cpuid_count(leaf, frame.registers[register::RCX] as u32);
    same_on_all_cores(leaf, [it.eax, it.ebx, it.ecx, it.edx])
}

/// Take what was read from the log. None if it has no more: there the task stopped when it was recorded.
fn take(shared: &mut Shared, frame: &Frame, what: What) -> Option<Outcome> {
    if shared.cursor >= shared.end {
        return None;
    }
    let (at, behind) = entry(shared.cursor);
    // SAFETY: the replayer has put entries there, up to the end.
    let Entry { payload, number, check, result } = unsafe { *at };
    if number != what.read.number() || check != frame.check() {
        // The replayer sees that entries are left, and which.
        return None;
    }
    let mut more = [0; 4];
    if payload as usize == PAYLOAD {
        // SAFETY: as above; the replayer has made sure that the payload is there.
        more = unsafe { *core::ptr::with_exposed_provenance::<[u32; 4]>(behind as usize) };
    }
    shared.cursor += Entry::size(payload as usize) as u64;
    Some(Outcome { value: result.cast_unsigned(), more })
}

impl Frame {
    /// What tells this read from others: where it stands, and what cpuid is asked for.
    fn check(&self) -> u16 {
        let asked = match What::of_word(self.what).read {
            Read::Processor => {
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
