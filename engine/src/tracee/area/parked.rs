//! Tasks that hand the core to each other, as seen by recorder and replayer. See the buffer's `hand_over` in
//! [`rrtest_preload`].
//!
//! A parked task waits for its turn in its [`Slot`]. Slots are numbered like scratch memory.

use std::mem::offset_of;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use nix::unistd::Pid;
use rrtest_preload::layout::{
    BUCKETS, BUFFER, Bucket, Decides, Entry, HandOver, LAST_RAN, LOG, NOTES, NOTES_MOST, Note, PARKED,
    RUNNABLE, SCRATCH, SLOTS, SLOTS_MOST, Shared, Slot, Turns, WAITERS,
    register::{R11, RAX, RBP, RBX, RCX, RSP},
};

use super::buffer::SYSCALL_LEN;
use super::shared::{Area, SCRATCH_LEN};
use crate::Error;
use crate::tracee::ptrace::{Registers, Resume, Running, Stopped};
use crate::tracee::system::last_os;

/// A task that runs, or can run, in the process.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The task's number.
    pub task: u32,
    /// The number of its slot, if it has one.
    pub slot: Option<u32>,
    /// Its process.
    pub pid: Pid,
    /// Its thread id.
    pub tid: Pid,
    /// The cores that it is told it may use, a bit each.
    pub affinity: u64,
    /// The head of its list of robust futexes; 0 for none.
    pub robust_list: u64,
}

impl Area {
    /// Returns the slot number of the task that has this scratch memory.
    #[must_use]
    pub fn slot(scratch: u64) -> u32 {
        ((scratch as usize).saturating_sub(SCRATCH) / SCRATCH_LEN) as u32
    }

    /// Clears the slot of a new task.
    pub fn clear_slot(&self, slot: u32) {
        self.copy_in(slot_at(slot), &[0; size_of::<Slot>()]);
    }

    /// Sets the running task.
    pub fn set_running(&self, member: Member) {
        let Member { task, slot, pid, tid, affinity, robust_list } = member;
        let (tid, pid) = (tid.as_raw() as u64, pid.as_raw());
        let set = |offset: usize, value| self.word(offset).store(value, Relaxed);
        set(offset_of!(Shared, tid), tid);
        set(offset_of!(Shared, affinity), affinity);
        set(offset_of!(Shared, robust_list), robust_list);
        if let Some(slot) = slot {
            let at = slot_at(slot);
            self.copy_in(at + offset_of!(Slot, pid), &pid.to_ne_bytes());
            self.copy_in(at + offset_of!(Slot, task), &bytes(&[task.into(), tid, affinity]));
            set(offset_of!(Shared, pid), pid as u64);
            if self.word(offset_of!(Shared, slot)).swap(slot.into(), Relaxed) != u64::from(slot) {
                // The previous task, which was about to hand the core over, is gone.
                set(offset_of!(Shared, deciding), 0);
            }
        }
    }

    /// Sets the cores that a task is told it may use. The task must not be running.
    pub fn set_affinity(&self, slot: u32, affinity: u64) {
        self.copy_in(slot_at(slot) + offset_of!(Slot, affinity), &affinity.to_ne_bytes());
    }

    /// Returns the number of the task that has the core.
    #[must_use]
    pub fn running(&self) -> u32 {
        let slot = self.word(offset_of!(Shared, slot)).load(Relaxed) as u32;
        self.slot_word(slot, offset_of!(Slot, task)) as u32
    }

    /// Sets the running task's address space, and what is decided in the process and how.
    pub fn set_turns(&self, space: u32, decides: Decides, turns: Option<Turns>) {
        self.word(offset_of!(Shared, space)).store(space.into(), Relaxed);
        self.word(offset_of!(Shared, decides)).store(decides as u64, Relaxed);
        if let Some(Turns { random, decisions }) = turns {
            let at = offset_of!(Shared, turns);
            self.word(at + offset_of!(Turns, random)).store(random, Relaxed);
            self.word(at + offset_of!(Turns, decisions)).store(decisions, Relaxed);
        }
    }

    /// Makes the running task stop where it would decide whose turn it is. It may be running.
    pub fn decide_no_more(&self) {
        self.word(offset_of!(Shared, decides)).store(0, Relaxed);
    }

    /// Whether the running task, which has been stopped, may be about to hand the core over.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        self.word(offset_of!(Shared, deciding)).load(Relaxed) != 0
    }

    /// Sets when a task ran last.
    pub fn set_last_ran(&self, slot: u32, last_ran: u64) {
        self.copy_in(LAST_RAN + index(slot) * size_of::<u64>(), &last_ran.to_ne_bytes());
    }

    /// Sets the runnable tasks, except the running one: [`rrtest_preload::layout::runnable`] of each, in order of task
    /// number.
    pub fn set_runnable(&self, runnable: &[u64]) {
        let runnable = &runnable[..runnable.len().min(SLOTS_MOST)];
        self.copy_in_words(RUNNABLE, runnable);
        self.word(offset_of!(Shared, runnable)).store(runnable.len() as u64, Relaxed);
    }

    /// Sets the waiters of some futexes (a futex bucket): `bucket`, with `count` waiters known by their slots, in order
    /// of arrival.
    pub fn set_bucket(
        &self,
        number: usize,
        bucket: Bucket,
        count: usize,
        slot: impl Fn(usize) -> Option<u32>,
    ) {
        let at = WAITERS + number % BUCKETS * size_of::<Bucket>();
        let link = |at: usize| at.checked_sub(1).and_then(&slot).map_or(0, |slot| slot + 1);
        let (first, last) = (link(count.min(1)), link(count));
        // Usually one waiter has joined after those that are there already.
        let known = self.copy_out(at, size_of::<Bucket>());
        let joined = count > 1
            && word_at(&known, 0) as u32 as usize == count - 1
            && word_at(&known, offset_of!(Bucket, first)) == pair(first, link(count - 1));
        for place in if joined { count - 1 } else { 1 }..=count {
            if let Some(slot) = place.checked_sub(1).and_then(&slot) {
                let behind = if place < count { link(place + 1) } else { 0 };
                self.copy_in(slot_at(slot) + offset_of!(Slot, behind), &behind.to_ne_bytes());
            }
        }
        let Bucket { tasks, space, address, .. } = bucket;
        self.copy_in_words(at, &[pair(tasks, space), address, pair(first, last)]);
    }

    /// Whether tasks have noted what they have done without a stop.
    #[must_use]
    pub fn has_notes(&self) -> bool {
        self.word(offset_of!(Shared, notes)).load(Relaxed) != 0
    }

    /// Takes the notes on what tasks have done without a stop.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        if !self.has_notes() {
            return Vec::new();
        }
        let count = self.word(offset_of!(Shared, notes)).swap(0, Relaxed) as usize;
        let notes = self.copy_out(NOTES, count.min(NOTES_MOST) * size_of::<Note>());
        let note = |bytes: &[u8]| {
            let word = |at| word_at(bytes, at);
            let half = |at| half_at(bytes, at);
            Note {
                address: word(offset_of!(Note, address)),
                count: half(offset_of!(Note, count)),
                to: half(offset_of!(Note, to)),
                left: word(offset_of!(Note, left)),
                slice: word(offset_of!(Note, slice)),
                events: word(offset_of!(Note, events)),
            }
        };
        notes.chunks_exact(size_of::<Note>()).map(note).collect()
    }

    /// Shortens the timeslice of the running task to `ticks`, as if it had been that long from the start, if another
    /// task has handed it the core since the log was last taken. Returns whether it has.
    #[must_use]
    pub fn shorten_handed(&self, ticks: u64) -> bool {
        let end = self.word(offset_of!(Shared, handed)).load(Relaxed) as usize;
        let payload = end.checked_sub(size_of::<HandOver>()).filter(|at| *at >= size_of::<Entry>());
        if let Some(at) = payload {
            self.copy_in(LOG + at + offset_of!(HandOver, slice), &ticks.to_ne_bytes());
        }
        payload.is_some()
    }

    /// Returns the registers of a parked task at the entry of its call. `others` supplies those that the slot does not
    /// have.
    #[must_use]
    pub fn parked_registers(&self, slot: u32, others: &Registers) -> Registers {
        let mut registers = *others;
        for number in 0..16 {
            registers.set_general(number, self.slot_word(slot, offset_of!(Slot, registers) + number * 8));
        }
        registers.set_ip(registers.general(RCX));
        registers.set_flags(registers.general(R11));
        registers.set_number(libc::SYS_futex as u64);
        registers
    }

    /// Returns a parked task's instruction pointer, stack pointer and frame pointer.
    #[must_use]
    pub fn parked_frame(&self, slot: u32) -> [u64; 3] {
        [RCX, RSP, RBP].map(|number| self.slot_word(slot, offset_of!(Slot, registers) + number * 8))
    }

    /// Returns the head of a parked task's list of robust futexes.
    #[must_use]
    pub fn parked_robust_list(&self, slot: u32) -> u64 {
        self.slot_word(slot, offset_of!(Slot, robust_list))
    }

    /// Parks a task that stands at the entry of a futex wait in a stub, with these registers: it waits for its turn
    /// instead. Its call will return 0.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn park(&self, stopped: Stopped, registers: &Registers, slot: u32) -> Result<Running, Error> {
        let at = slot_at(slot);
        let mut kept: [u64; 16] = std::array::from_fn(|number| registers.general(number));
        kept[RAX] = 0;
        kept[RCX] = registers.ip();
        kept[R11] = registers.flags();
        self.copy_in(at + offset_of!(Slot, registers), &bytes(&kept));
        self.set_parked(slot, true);
        let mut registers = *registers;
        registers.set_number(u64::MAX);
        registers.set_general(RBX, at as u64);
        registers.set_general(RSP, (at + offset_of!(Slot, stack) + size_of::<[u64; 4]>()) as u64);
        registers.set_ip(word_at(&self.copy_out(PARKED, 8), 0));
        stopped.set_registers(&registers)?;
        stopped.resume(Resume::Freely, 0)
    }

    /// Whether a stopped task that is about to park in this slot has saved its registers there.
    #[must_use]
    pub fn is_parked(slot: u32, registers: &Registers) -> bool {
        let stack = slot_at(slot) + offset_of!(Slot, stack);
        (stack..=stack + size_of::<[u64; 4]>()).contains(&(registers.sp() as usize))
    }

    /// Makes a parked task that has been stopped go on at the entry of its call.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn unpark(&self, stopped: &Stopped, slot: u32) -> Result<(), Error> {
        let mut registers = self.parked_registers(slot, &stopped.registers()?);
        registers.set_result(libc::SYS_futex);
        registers.set_number(u64::MAX);
        // The program can write what it has saved.
        registers.set_ip(registers.ip().wrapping_sub(SYSCALL_LEN));
        self.set_parked(slot, false);
        stopped.set_registers(&registers)
    }

    /// Sets a parked task's turn without waking the task, which is stopped.
    pub fn set_turn(&self, slot: u32) {
        self.turn(slot).store(1, Relaxed);
    }

    /// Gives the core to a parked task.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn give_turn(&self, slot: u32) -> Result<(), Error> {
        let turn = self.turn(slot);
        turn.store(1, Relaxed);
        // SAFETY: FUTEX_WAKE (futex(2)) does not access memory; the address is that of a word in this mapping.
        let result = unsafe { libc::syscall(libc::SYS_futex, turn.as_ptr(), libc::FUTEX_WAKE, 1) };
        if result < 0 { Err(last_os("wake a thread of the program")) } else { Ok(()) }
    }

    fn set_parked(&self, slot: u32, parked: bool) {
        let words = [0, u32::from(parked)].map(u32::to_ne_bytes);
        self.copy_in(slot_at(slot) + offset_of!(Slot, turn), &words.concat());
    }

    fn turn(&self, slot: u32) -> &AtomicU32 {
        // SAFETY: the slot lies within the mapping, which lives as long as `self`, and is aligned. Other processes
        // use the word, too, so it is accessed atomically only.
        unsafe { AtomicU32::from_ptr(self.pointer(slot_at(slot), size_of::<Slot>()).cast()) }
    }

    fn slot_word(&self, slot: u32, offset: usize) -> u64 {
        word_at(&self.copy_out(slot_at(slot) + offset, 8), 0)
    }
}

const _: () = assert!(offset_of!(Bucket, last) == offset_of!(Bucket, first) + 4);
const _: () = assert!(offset_of!(Slot, parked) == offset_of!(Slot, turn) + 4 && PARKED > BUFFER);

fn index(slot: u32) -> usize {
    slot as usize % SLOTS_MOST
}

fn slot_at(slot: u32) -> usize {
    SLOTS + index(slot) * size_of::<Slot>()
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word))
}

/// Reads four bytes at `at`.
fn half_at(bytes: &[u8], at: usize) -> u32 {
    (word_at(bytes, at / 8 * 8) >> (at % 8 * 8)) as u32
}

/// Decodes a hand-over from an entry's payload.
pub(super) fn handed(payload: &[u8]) -> Option<HandOver> {
    if payload.len() != size_of::<HandOver>() {
        return None;
    }
    let half = |at| half_at(payload, at);
    Some(HandOver {
        slice: word_at(payload, offset_of!(HandOver, slice)),
        task: half(offset_of!(HandOver, task)),
        to: half(offset_of!(HandOver, to)) as u16,
        from: half(offset_of!(HandOver, from)) as u16,
        left: half(offset_of!(HandOver, left)),
        sp: half(offset_of!(HandOver, sp)),
    })
}
