//! Hands the core to another task without a stop, as the running task begins to wait for a futex.
//!
//! The task saves its registers in its [`Slot`], wakes the other task, and waits in the kernel for a word of its slot,
//! with calls that the filter lets through: it is *parked*. A task that gets the core goes on as after a wait that a
//! wake has ended. For a few instructions both tasks are under way; meanwhile the first touches nothing but its slot.
//!
//! Who gets the core is decided as the recorder decides it under the fair strategy ([`crate::turns`]). The recorder
//! later carries out what is noted here, and comes to the same decisions. If the other task is not parked, the recorder
//! must be asked, with a stop.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::compiler_fence;

use super::record::{append, command};
use super::{Frame, copy, countdown, entry, tick, word};
use crate::layout::{
    self, AREA, BUCKETS, Bucket, Decides, Entry, HandOver, LAST_RAN, LOG_LEN, NOTES, NOTES_MOST, Note,
    RUNNABLE, SLOTS, SLOTS_MOST, STACK, Shared, Slot, WAITERS, bucket, register,
};

// rax holds the task's slot, which has all registers except the callee-saved ones.
global_asm!(
    ".section .text.park, \"ax\"",
    "park:",
    "    mov qword ptr [rax + {registers} + 3 * 8], rbx",
    "    mov qword ptr [rax + {registers} + 5 * 8], rbp",
    "    mov qword ptr [rax + {registers} + 12 * 8], r12",
    "    mov qword ptr [rax + {registers} + 13 * 8], r13",
    "    mov qword ptr [rax + {registers} + 14 * 8], r14",
    "    mov qword ptr [rax + {registers} + 15 * 8], r15",
    "    mov rbx, rax",
    "    mov rdi, qword ptr [{next}]",
    // Other tasks may use the stack of this code from here on.
    "    lea rsp, [rbx + {stack}]",
    "    mov dword ptr [rdi], 1",
    "    mov eax, 202",
    "    mov esi, 1", // FUTEX_WAKE
    "    mov edx, 1",
    "    call rrtest_buffer",
    "parked:",
    "    cmp dword ptr [rbx], 0",
    "    jne 2f",
    "    mov eax, 202",
    "    mov rdi, rbx",
    "    xor esi, esi", // FUTEX_WAIT
    "    xor edx, edx",
    "    xor r10d, r10d",
    "    call rrtest_buffer",
    "    jmp parked",
    "2:",
    "    mov dword ptr [rbx], 0",
    "    mov dword ptr [rbx + {parked}], 0",
    "    push qword ptr [rbx + {registers} + 11 * 8]",
    "    popfq",
    "    mov rax, qword ptr [rbx + {registers} + 0 * 8]",
    "    mov rcx, qword ptr [rbx + {registers} + 1 * 8]",
    "    mov rdx, qword ptr [rbx + {registers} + 2 * 8]",
    "    mov rsp, qword ptr [rbx + {registers} + 4 * 8]",
    "    mov rbp, qword ptr [rbx + {registers} + 5 * 8]",
    "    mov rsi, qword ptr [rbx + {registers} + 6 * 8]",
    "    mov rdi, qword ptr [rbx + {registers} + 7 * 8]",
    "    mov r8, qword ptr [rbx + {registers} + 8 * 8]",
    "    mov r9, qword ptr [rbx + {registers} + 9 * 8]",
    "    mov r10, qword ptr [rbx + {registers} + 10 * 8]",
    "    mov r11, qword ptr [rbx + {registers} + 11 * 8]",
    "    mov r12, qword ptr [rbx + {registers} + 12 * 8]",
    "    mov r13, qword ptr [rbx + {registers} + 13 * 8]",
    "    mov r14, qword ptr [rbx + {registers} + 14 * 8]",
    "    mov r15, qword ptr [rbx + {registers} + 15 * 8]",
    "    mov rbx, qword ptr [rbx + {registers} + 3 * 8]",
    "    jmp rcx",
    registers = const offset_of!(Slot, registers),
    parked = const offset_of!(Slot, parked),
    stack = const offset_of!(Slot, stack) + size_of::<[u64; 4]>(),
    next = const AREA + offset_of!(Shared, next),
);

const _: () = assert!(offset_of!(Slot, turn) == 0);

/// Begins to wait for a futex and hands the core over, if this is possible without a stop. Returns whether it has.
pub(super) fn wait(shared: &Shared, frame: &mut Frame) -> bool {
    set_deciding(shared, true);
    let waits = decide(shared, frame);
    set_deciding(shared, false);
    waits
}

/// Sets whether the task is deciding. The recorder may stop the task at any time, and checks this: in between, what is
/// noted may not all be done, and what is done may not be noted.
pub(super) fn set_deciding(shared: &Shared, deciding: bool) {
    compiler_fence(SeqCst);
    shared.deciding.store(deciding.into(), Relaxed);
    compiler_fence(SeqCst);
}

fn decide(shared: &Shared, frame: &mut Frame) -> bool {
    if shared.decides.load(Relaxed) != Decides::All as u64 {
        return false;
    }
    let args = frame.args();
    let [address, _, value, ..] = args;
    if !is_plain(&args) || !has_room(shared) || word(shared, address) != Some(value as u32) {
        return false;
    }
    let bucket = waiters(address);
    let same =
        bucket.first != 0 && bucket.address == address && u64::from(bucket.space) == shared.space.get();
    if bucket.tasks != 0 && !same || shared.runnable.get() == 0 {
        return false;
    }
    let mut turns = shared.turns.get();
    let now = turns.decision();
    let turn = turns.next(shared.runnable.get() as usize, |at| *last_ran(*runnable(at)));
    let to = *runnable(turn.index);
    let other = slot(to);
    if other.parked == 0 || u64::from(other.pid) != shared.pid.get() || !tick(shared) {
        return false;
    }
    let left = left(shared);
    let task = (to >> 32) as u32;
    let noted = Note {
        address,
        to: task + 1,
        left,
        slice: turn.slice,
        events: shared.watch.get().events,
        ..Note::default()
    };
    note(shared, noted);
    let handed = HandOver {
        slice: turn.slice,
        task,
        to: to as u16,
        from: shared.slot.get() as u16,
        left: left as u32,
        sp: shared.parked.get() as u32,
    };
    let (_, payload) = entry(shared.cursor.get());
    copy(shared, (&raw const handed).expose_provenance() as u64, payload, size_of::<HandOver>());
    append(shared, frame, frame.rax as u16 + Entry::HANDS_OVER * Entry::STREAM, size_of::<HandOver>(), 0);
    shared.handed.set(shared.cursor.get());
    *last_ran(shared.slot.get()) = now;
    shared.turns.set(turns);
    let mut at = turn.index;
    while at + 1 < shared.runnable.get() as usize {
        *runnable(at) = *runnable(at + 1);
        at += 1;
    }
    shared.runnable.set(shared.runnable.get() - 1);
    join(shared, bucket, address);
    hand(shared, &handed);
    true
}

/// Repeats a recorded hand-over, which is in the log at `payload`. Returns false if this is not possible.
pub(super) fn again(shared: &Shared, payload: u64, len: usize) -> bool {
    let mut handed = HandOver::default();
    if len != size_of::<HandOver>() {
        return false;
    }
    copy(shared, payload, (&raw mut handed).expose_provenance() as u64, len);
    let here = left(shared) as u32 == handed.left && shared.parked.get() as u32 == handed.sp;
    if !here || handed.from == handed.to || slot(handed.to.into()).parked == 0 {
        return false;
    }
    shared.slot.set(handed.from.into());
    hand(shared, &handed);
    true
}

/// Gives the core to the other task.
fn hand(shared: &Shared, handed: &HandOver) {
    let (own, other) = (slot(shared.slot.get()), slot(handed.to.into()));
    own.robust_list = shared.robust_list.get();
    own.turn = 0;
    own.parked = 1;
    shared.hands.set(shared.slot.get());
    shared.slot.set(handed.to.into());
    shared.tid.set(other.tid);
    shared.affinity.set(other.affinity);
    shared.robust_list.set(other.robust_list);
    // SAFETY: as in `look`.
    unsafe { (*shared.watch.as_ptr()).task = handed.task.into() };
    shared.next.set((&raw const *other).expose_provenance() as u64);
    countdown(shared).store(handed.slice, Relaxed);
}

/// Saves what a parked task goes on with in its slot. Returns the slot's address.
pub(super) fn park(shared: &Shared, frame: &Frame) -> u64 {
    let own = slot(shared.hands.get());
    own.registers[register::RAX] = 0;
    own.registers[register::RCX] = frame.target;
    own.registers[register::RDX] = frame.rdx;
    own.registers[register::RSP] = shared.parked.get();
    own.registers[register::RSI] = frame.rsi;
    own.registers[register::RDI] = frame.rdi;
    own.registers[register::R8] = frame.r8;
    own.registers[register::R9] = frame.r9;
    own.registers[register::R10] = frame.r10;
    own.registers[register::R11] = frame.flags;
    shared.parked.set(STACK as u64);
    (&raw const *own).expose_provenance() as u64
}

/// Makes the `count` longest waiters of a bucket runnable. It must have that many.
pub(super) fn wake(shared: &Shared, bucket: &mut Bucket, count: u32) {
    let mut turns = shared.turns.get();
    *last_ran(shared.slot.get()) = turns.decision();
    shared.turns.set(turns);
    let mut left = count;
    while left > 0 && bucket.first != 0 {
        let woken = u64::from(bucket.first - 1);
        bucket.first = slot(woken).behind;
        bucket.tasks -= 1;
        let key = layout::runnable(slot(woken).task as u32, woken as u32);
        let mut at = shared.runnable.get() as usize;
        while at > 0 && *runnable(at - 1) > key {
            *runnable(at) = *runnable(at - 1);
            at -= 1;
        }
        *runnable(at) = key;
        shared.runnable.set(shared.runnable.get() + 1);
        left -= 1;
    }
}

/// Adds the running task to the waiters of a bucket.
fn join(shared: &Shared, bucket: &mut Bucket, address: u64) {
    let number = shared.slot.get() as u32 + 1;
    slot(shared.slot.get()).behind = 0;
    if bucket.tasks == 0 {
        *bucket = Bucket { tasks: 0, space: shared.space.get() as u32, address, first: number, last: number };
    } else {
        slot(u64::from(bucket.last - 1)).behind = number;
    }
    bucket.last = number;
    bucket.tasks += 1;
}

/// Whether this is a wait for a private futex, without a time limit, that a wake with any bitset ends.
fn is_plain(args: &[u64; 6]) -> bool {
    const PRIVATE: u64 = 128;
    let [address, operation, _, limit, _, bitset] = *args;
    let waits = match command(args) {
        0 => true,
        9 => bitset as u32 == u32::MAX,
        _ => false,
    };
    waits && operation & PRIVATE != 0 && limit == 0 && address % 4 == 0
}

/// Whether there is room for another note and log entry.
pub(super) fn has_room(shared: &Shared) -> bool {
    let room = LOG_LEN as u64 - shared.cursor.get();
    shared.notes.get() < NOTES_MOST as u64 && room >= Entry::size(size_of::<HandOver>()) as u64
}

/// Leaves a note for the recorder.
pub(super) fn note(shared: &Shared, note: Note) {
    let at = NOTES + shared.notes.get() as usize % NOTES_MOST * size_of::<Note>();
    // SAFETY: has_room() has made sure that there is room. Notes are aligned, and the recorder does not use them while
    // the program runs.
    unsafe { *core::ptr::with_exposed_provenance_mut(at) = note };
    shared.notes.set(shared.notes.get() + 1);
}

/// Returns the futex bucket that contains the waiters for this futex.
pub(super) fn waiters(address: u64) -> &'static mut Bucket {
    let at = WAITERS + bucket(address) % BUCKETS * size_of::<Bucket>();
    // SAFETY: the recorder has mapped the table, which is aligned, and does not use it while the program runs; only one
    // task does, and nothing else in this code makes such a reference.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Bucket>(at) }
}

/// Returns what is left of the running task's countdown.
pub(super) fn left(shared: &Shared) -> u64 {
    countdown(shared).load(Relaxed)
}

/// Returns the slot with this number, of which only the low half counts.
fn slot(number: u64) -> &'static mut Slot {
    let at = SLOTS + number as u32 as usize % SLOTS_MOST * size_of::<Slot>();
    // SAFETY: as for the buckets. Nobody uses two references to the same slot at a time.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Slot>(at) }
}

/// Returns when a task ran last, by the number of its slot, of which only the low half counts.
fn last_ran(number: u64) -> &'static mut u64 {
    let at = LAST_RAN + number as u32 as usize % SLOTS_MOST * size_of::<u64>();
    // SAFETY: as above.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<u64>(at) }
}

/// Returns an entry of the list of runnable tasks.
fn runnable(at: usize) -> &'static mut u64 {
    let at = RUNNABLE + at % SLOTS_MOST * size_of::<u64>();
    // SAFETY: as above.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<u64>(at) }
}
