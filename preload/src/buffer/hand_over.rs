//! A task that begins to wait for a futex hands the core over to another, without a stop.
//!
//! It leaves its registers in its [`Slot`], wakes the other, and waits in the kernel for a word of its slot, with calls that
//! the filter lets through: it is *parked*. Whoever gets the core goes on as after a wait that a wake has ended. In between
//! both are on their way for a few instructions, in which the first touches nothing but its slot.
//!
//! Who gets the core is decided as the recorder decides it under the fair strategy ([`crate::turns`]). It carries out later what
//! is noted here, and comes to the same decisions. Where the other is not parked, the recorder has to be asked, with a stop.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

use super::record::{append, command};
use super::{Frame, copy, countdown, entry, tick, word};
use crate::layout::{
    self, AREA, CROWDS, Crowd, Decides, Entry, HandOver, LAST_RAN, LOG_LEN, NOTES, NOTES_MOST, Note,
    RUNNABLE, SLOTS, SLOTS_MOST, STACK, Shared, Slot, WAITERS, crowd, register,
};

// In rax is the task's slot, which has all registers but those that calls of functions keep.
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
    // Others may use the stack of this code from here on.
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

/// Begin to wait for a futex and hand the core over, if that can be done without a stop.
pub(super) fn wait(shared: &mut Shared, frame: &mut Frame) -> bool {
    set_deciding(shared, true);
    let waits = decide(shared, frame);
    set_deciding(shared, false);
    waits
}

/// The recorder may stop the task at any time, and looks whether it is in between: what it has noted may not all be done, nor
/// what it has done be noted.
pub(super) fn set_deciding(shared: &mut Shared, deciding: bool) {
    compiler_fence(SeqCst);
    // SAFETY: it is a field of ours.
    unsafe { (&raw mut shared.deciding).write_volatile(deciding.into()) };
    compiler_fence(SeqCst);
}

fn decide(shared: &mut Shared, frame: &mut Frame) -> bool {
    if shared.decides != Decides::All as u64 {
        return false;
    }
    let args = frame.args();
    let [address, _, value, ..] = args;
    if !is_plain(&args) || !has_room(shared) || word(shared, address) != Some(value as u32) {
        return false;
    }
    let crowd = waiters(address);
    let same = crowd.first != 0 && crowd.address == address && u64::from(crowd.space) == shared.space;
    if crowd.tasks != 0 && !same || shared.runnable == 0 {
        return false;
    }
    let mut turns = shared.turns;
    let now = turns.decision();
    let turn = turns.next(shared.runnable as usize, |at| *last_ran(*runnable(at)));
    let to = *runnable(turn.index);
    let other = slot(to);
    if other.parked == 0 || u64::from(other.pid) != shared.pid || !tick(shared) {
        return false;
    }
    let left = left(shared);
    let task = (to >> 32) as u32;
    let noted = Note {
        address,
        to: task + 1,
        left,
        slice: turn.slice,
        events: shared.watch.events,
        ..Note::default()
    };
    note(shared, noted);
    let handed = HandOver {
        slice: turn.slice,
        task,
        to: to as u16,
        from: shared.slot as u16,
        left: left as u32,
        sp: shared.parked as u32,
    };
    let (_, payload) = entry(shared.cursor);
    copy(shared, (&raw const handed).expose_provenance() as u64, payload, size_of::<HandOver>());
    append(shared, frame, frame.rax as u16 + Entry::HANDS_OVER * Entry::STREAM, size_of::<HandOver>(), 0);
    shared.handed = shared.cursor;
    *last_ran(shared.slot) = now;
    shared.turns = turns;
    let mut at = turn.index;
    while at + 1 < shared.runnable as usize {
        *runnable(at) = *runnable(at + 1);
        at += 1;
    }
    shared.runnable -= 1;
    join(shared, crowd, address);
    hand(shared, &handed);
    true
}

/// Do again what a task did when it was recorded: what that was is in the log at `payload`. False if it cannot be.
pub(super) fn again(shared: &mut Shared, payload: u64, len: usize) -> bool {
    let mut handed = HandOver::default();
    if len != size_of::<HandOver>() {
        return false;
    }
    copy(shared, payload, (&raw mut handed).expose_provenance() as u64, len);
    let here = left(shared) as u32 == handed.left && shared.parked as u32 == handed.sp;
    if !here || handed.from == handed.to || slot(handed.to.into()).parked == 0 {
        return false;
    }
    shared.slot = handed.from.into();
    hand(shared, &handed);
    true
}

/// The core is another's from now on.
fn hand(shared: &mut Shared, handed: &HandOver) {
    let (own, other) = (slot(shared.slot), slot(handed.to.into()));
    own.robust_list = shared.robust_list;
    own.turn = 0;
    own.parked = 1;
    shared.hands = shared.slot;
    shared.slot = handed.to.into();
    shared.tid = other.tid;
    shared.affinity = other.affinity;
    shared.robust_list = other.robust_list;
    shared.watch.task = handed.task.into();
    shared.next = (&raw const *other).expose_provenance() as u64;
    *countdown(shared) = handed.slice;
}

/// Put what a parked task goes on with into its slot, of which this is the address.
pub(super) fn park(shared: &mut Shared, frame: &Frame) -> u64 {
    let own = slot(shared.hands);
    own.registers[register::RAX] = 0;
    own.registers[register::RCX] = frame.target;
    own.registers[register::RDX] = frame.rdx;
    own.registers[register::RSP] = shared.parked;
    own.registers[register::RSI] = frame.rsi;
    own.registers[register::RDI] = frame.rdi;
    own.registers[register::R8] = frame.r8;
    own.registers[register::R9] = frame.r9;
    own.registers[register::R10] = frame.r10;
    own.registers[register::R11] = frame.flags;
    shared.parked = STACK as u64;
    (&raw const *own).expose_provenance() as u64
}

/// Those of a crowd who have waited longest become able to run: so many, which it has.
pub(super) fn wake(shared: &mut Shared, crowd: &mut Crowd, count: u32) {
    *last_ran(shared.slot) = shared.turns.decision();
    let mut left = count;
    while left > 0 && crowd.first != 0 {
        let woken = u64::from(crowd.first - 1);
        crowd.first = slot(woken).behind;
        crowd.tasks -= 1;
        let key = layout::runnable(slot(woken).task as u32, woken as u32);
        let mut at = shared.runnable as usize;
        while at > 0 && *runnable(at - 1) > key {
            *runnable(at) = *runnable(at - 1);
            at -= 1;
        }
        *runnable(at) = key;
        shared.runnable += 1;
        left -= 1;
    }
}

/// The running task waits with this crowd.
fn join(shared: &Shared, crowd: &mut Crowd, address: u64) {
    let number = shared.slot as u32 + 1;
    slot(shared.slot).behind = 0;
    if crowd.tasks == 0 {
        *crowd = Crowd { tasks: 0, space: shared.space as u32, address, first: number, last: number };
    } else {
        slot(u64::from(crowd.last - 1)).behind = number;
    }
    crowd.last = number;
    crowd.tasks += 1;
}

/// Whether this is a wait for a private futex, without a time limit, that a wake of any bitset ends.
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

/// Whether there is room to note and log one more.
pub(super) fn has_room(shared: &Shared) -> bool {
    let room = LOG_LEN as u64 - shared.cursor;
    shared.notes < NOTES_MOST as u64 && room >= Entry::size(size_of::<HandOver>()) as u64
}

/// Have the recorder know.
pub(super) fn note(shared: &mut Shared, note: Note) {
    let at = NOTES + shared.notes as usize % NOTES_MOST * size_of::<Note>();
    // SAFETY: there is room for one more: has_room() has seen to that. They are aligned, and the recorder does not use them
    // while the program runs.
    unsafe { *core::ptr::with_exposed_provenance_mut(at) = note };
    shared.notes += 1;
}

/// Who waits for this futex, or one of those that are counted together with it.
pub(super) fn waiters(address: u64) -> &'static mut Crowd {
    let at = WAITERS + crowd(address) % CROWDS * size_of::<Crowd>();
    // SAFETY: the recorder has mapped the table, which is aligned, and does not use it while the program runs; only one task
    // does, and nothing else in this code makes such a reference.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Crowd>(at) }
}

/// What is left of the running task's countdown.
pub(super) fn left(shared: &mut Shared) -> u64 {
    *countdown(shared)
}

/// The slot of this number, of which the low half counts.
fn slot(number: u64) -> &'static mut Slot {
    let at = SLOTS + number as u32 as usize % SLOTS_MOST * size_of::<Slot>();
    // SAFETY: as for the crowds. Nobody uses two references to the same slot at a time.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<Slot>(at) }
}

/// When the task whose slot has this number, of which the low half counts, ran last.
fn last_ran(number: u64) -> &'static mut u64 {
    let at = LAST_RAN + number as u32 as usize % SLOTS_MOST * size_of::<u64>();
    // SAFETY: as above.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<u64>(at) }
}

/// The place of this number in the list of those that could have the core.
fn runnable(at: usize) -> &'static mut u64 {
    let at = RUNNABLE + at % SLOTS_MOST * size_of::<u64>();
    // SAFETY: as above.
    unsafe { &mut *core::ptr::with_exposed_provenance_mut::<u64>(at) }
}
