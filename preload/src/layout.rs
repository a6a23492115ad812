//! The layout that the recorder and the code inside the recorded process share.
//!
//! The recorder maps one shared area at [`AREA`] into every process that it records (`MAP_SHARED`, so forked children
//! see the same one). Only one task of the whole process tree runs at a time, so plain loads and stores suffice.

use core::cell::Cell;
use core::sync::atomic::AtomicU64;

/// Address of the shared area. It is so low that neither a position-independent program nor its mappings come near it,
/// and below 2 GiB, so that an instruction can contain any address in it.
pub const AREA: usize = 0x7000_0000;

/// Size of the shared area. Memory is allocated only for the parts that are used.
pub const AREA_LEN: usize = 133 << 20;

/// Address of the code that makes injected calls.
pub const INJECTION: usize = AREA + 0x1000;

/// Address of the system-call buffer's code, the same bytes in every process: those of [`crate::BUFFER`].
pub const BUFFER: usize = AREA + 0x2000;

/// The version of that code and of the layout of what it shares with the recorder. Whoever replays a trace must have the same.
pub const BUFFER_VERSION: u32 = 1;

/// Room for that code.
pub const BUFFER_LEN: usize = 0x8000;

/// Address after the one `syscall` instruction of the buffer's code: the filter lets calls from there through.
pub const UNTRACED: usize = BUFFER + 2;

/// Where patched call sites enter the buffer, with the address of their stub in ecx.
pub const ENTRY: usize = BUFFER + 0x20;

/// Address of a pointer to the code for a tick that has used up the countdown. The runtime jumps there with the address
/// of its own `syscall` instruction in rax, and the previous rax in [`Shared::kept`]. The task returns to that
/// instruction, with [`SYS_TICK`] in rax, or to after it, with all registers as they were.
pub const TICK: usize = BUFFER + 8;

/// Address of a pointer to the code at which a parked task waits for the core, with the address of its [`Slot`] in rbx
/// and the stack pointer at the end of [`Slot::stack`].
pub const PARKED: usize = BUFFER + 0x10;

/// Address of a pointer to the code by which a stub has an instruction done that reads what the program cannot
/// determine ([`crate::reads`]). It is called with the instruction's word on the buffer's stack, and the program's
/// stack pointer in [`Shared::reader`].
pub const READ: usize = BUFFER + 0x18;

/// Address of the code for a tick in a stub at which the countdown has reached zero. It is jumped to with the address
/// that is accessed in rax, and in rcx that of the stub's `syscall` instruction, before which a byte says how: an
/// [`AccessKind`].
pub const MOVED_TICK: usize = BUFFER + 0x400;

/// Bytes below the stack pointer that a tick in a stub leaves alone: the program's (System V ABI, AMD64 supplement,
/// 3.2.2: the red zone), and a word for the stub. Beyond them it keeps registers: rcx, the flags as lahf and seto put
/// them into rax, rax and r11.
pub const LEFT_ALONE: i64 = 128 + 8;

/// Bytes that it keeps there.
pub const KEPT_AT_TICK: i64 = 32;

/// Length of the buffer's instructions that access the program's memory. If one faults, the recorder skips it and sets
/// [`Shared::faulted`]; the call is then made with a stop, and the kernel reports the error.
pub const FAULTING_LEN: u64 = 2;

/// Size of a stub, to which a patched call site jumps.
pub const STUB_LEN: usize = 128;

/// Address of the stubs.
pub const STUBS: usize = AREA + 0x1_0000;

/// Number of stubs.
pub const STUBS_MOST: usize = 8192;

/// Offset in a stub of the `syscall` instruction that stops.
pub const STUB_TRACED: usize = 22;

/// Offset in a stub of the code after the call.
pub const STUB_DONE: usize = 24;

/// Address of the table of futex waiters: [`BUCKETS`] buckets ([`Bucket`]), by [`bucket`].
pub const WAITERS: usize = STUBS + STUBS_MOST * STUB_LEN;

/// Number of buckets in that table.
pub const BUCKETS: usize = 4096;

/// A futex bucket: what is known of the tasks that wait for some futexes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Number of tasks.
    pub tasks: u32,
    /// Address space of the private futex, if all tasks wait for the same one, and a wake with any bitset would wake
    /// them.
    pub space: u32,
    /// That futex's address; 0 if there is no such futex.
    pub address: u64,
    /// One plus the number of the [`Slot`] of the task that has waited longest; 0 if a task has no slot. The others
    /// follow by [`Slot::behind`].
    pub first: u32,
    /// One plus the slot number of the task that has come last.
    pub last: u32,
}

/// Something that a task has done without a stop and that the recorder must carry out: a wake, or a wait for a futex
/// with a hand-over of the core.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The futex's address, in the address space of the task that has the core.
    pub address: u64,
    /// For a wake, the number of tasks woken at most.
    pub count: u32,
    /// For a wait, one plus the number of the task that gets the core. 0 for a wake.
    pub to: u32,
    /// What was left of the countdown then.
    pub left: u64,
    /// For a wait, the other task's timeslice.
    pub slice: u64,
    /// For a wait, [`Watch::events`] then.
    pub events: u64,
}

/// Address of the notes.
pub const NOTES: usize = WAITERS + BUCKETS * size_of::<Bucket>();

/// Room for notes.
pub const NOTES_MOST: usize = 1024;

/// Returns the bucket of the table at [`WAITERS`] that contains the waiters for the futex at `address`.
#[must_use]
#[inline]
pub const fn bucket(address: u64) -> usize {
    (address >> 2) as usize % BUCKETS
}

/// Address of the processes' descriptor tables.
pub const DESCRIPTORS: usize = NOTES + NOTES_MOST * size_of::<Note>();

/// Descriptors in such a table, a byte each: a [`Descriptor`].
pub const DESCRIPTORS_LEN: usize = 1024;

/// Number of such tables.
pub const DESCRIPTORS_MOST: usize = 256;

/// Address of the end of the stack on which the buffer's code runs.
pub const STACK: usize = DESCRIPTORS + DESCRIPTORS_LEN * DESCRIPTORS_MOST + 0x4000;

/// Address of the log that the buffer's code writes when recording and reads when replaying.
pub const LOG: usize = STACK;

/// Size of the log.
pub const LOG_LEN: usize = 1 << 20;

/// Address of the table of objects ([`crate::objects`]).
pub const TABLE: usize = LOG + LOG_LEN;

/// Objects in that table, 16 bytes each.
pub const OBJECTS: usize = 4096;

const _: () = assert!(size_of::<Object>() == 16);

/// Address of the tasks' [`Slot`]s, by the number of their scratch memory.
pub const SLOTS: usize = (TABLE + OBJECTS * 16).next_multiple_of(size_of::<Slot>());

/// Number of slots.
pub const SLOTS_MOST: usize = 2048;

/// Address of the list of when tasks ran last ([`Turns::decisions`]), by slot number.
pub const LAST_RAN: usize = SLOTS + SLOTS_MOST * size_of::<Slot>();

/// Address of the list of runnable tasks, [`runnable`] of each, in order of task number.
pub const RUNNABLE: usize = LAST_RAN + SLOTS_MOST * 8;

/// Encodes a runnable task: its number and slot number.
#[must_use]
#[inline]
pub const fn runnable(task: u32, slot: u32) -> u64 {
    (task as u64) << 32 | slot as u64
}

/// Address of scratch memory, to which the kernel writes the outputs of a task that blocks while others run.
pub const SCRATCH: usize = RUNNABLE + SLOTS_MOST * 8;

/// Numbers of general registers in [`Slot::registers`].
pub mod register {
    #![allow(missing_docs, reason = "the names say it")]
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
    pub const R9: usize = 9;
    pub const R10: usize = 10;
    pub const R11: usize = 11;
}

/// What other tasks need to hand the core to a task without a stop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// A futex: 1 if the task is to go on.
    pub turn: u32,
    /// Whether the task is parked: it waits for `turn`, or is about to.
    pub parked: u32,
    /// One plus the number of the slot of the next task that waits for the same futex; 0 for none.
    pub behind: u32,
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub task: u64,
    /// Its thread id.
    pub tid: u64,
    /// As [`Shared::affinity`].
    pub affinity: u64,
    /// As [`Shared::robust_list`].
    pub robust_list: u64,
    /// The general registers with which it goes on, by their numbers in instructions (Intel SDM, volume 2, 3.1.1.3). As
    /// after a system call, rcx and r11 contain the instruction pointer and the flags.
    pub registers: [u64; 16],
    /// The stack on which a parked task makes its calls.
    pub stack: [u64; 4],
    /// Fills up whole cache lines.
    pub unused: [u64; 6],
}

const _: () = assert!(size_of::<Slot>() == 256);

/// What the next turn of the fair strategy depends on, besides when each task ran last (see `turns`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// State of a stream of random numbers; never 0.
    pub random: u64,
    /// Number of decisions so far.
    pub decisions: u64,
}

/// What is added to a made-up call's number. The kernel and its filters look at the lower half of rax, the recorder at
/// all of it: so no call of the program's own is taken for one of these.
///
/// The lower halves are numbers that x86-64 has never had a call for, whose names the filters of containers let through
/// all the same: they forbid all other unknown numbers, and what a filter forbids does not stop.
const MADE_UP: usize = 0x7272_7465 << 32;

/// The system call number by which the runtime says that the countdown reached zero.
///
/// [`Shared::touched`] and [`Shared::kind`] describe the coming operation. The result is ignored. The recorder never
/// lets it through. The lower half is that of epoll_ctl_old.
pub const SYS_TICK: usize = MADE_UP | 214;

/// The system call number by which the runtime announces itself. Returns 1 under the recorder; `-ENOSYS` from a kernel,
/// which means that nobody records. The lower half is that of epoll_wait_old.
pub const SYS_HELLO: usize = MADE_UP | 215;

/// The system call number that ends code injected by the recorder, while which runs no other call has it:
/// get_thread_area's, which is for 32-bit programs.
pub const SYS_INJECTED: usize = 211;

/// The system call number by which the buffer says that an instruction cannot be done now: its log is full, or
/// [`Shared::starting`] is set. It tries again after the stop. The lower half is that of set_thread_area.
pub const SYS_READ: usize = MADE_UP | 205;

/// The first page of the shared area.
///
/// The recorder writes it too: most of it while no task runs, the atomic fields also while the task may be anywhere in
/// this code. So nobody has it for himself, and there is no `&mut` to it.
#[repr(C)]
pub struct Shared {
    /// Ticks until the running task must ask the scheduler. Each tick decrements it; at zero the runtime jumps to where
    /// [`TICK`] points.
    pub countdown: AtomicU64,
    /// End of the stack of the system-call buffer's code; while that runs, the program's stack pointer.
    pub parked: Cell<u64>,
    /// The system-call buffer's mode: a [`Mode`].
    pub mode: Cell<u64>,
    /// In bytes: when recording, the end of the log's entries so far; when replaying, of those that have been taken.
    pub cursor: Cell<u64>,
    /// When replaying, the end of the log's entries, in bytes.
    pub end: Cell<u64>,
    /// Address of the running process's descriptor table; 0 if nothing is known of its descriptors.
    pub descriptors: Cell<u64>,
    /// Whether no task waits in the kernel, so that no call can wake one.
    pub quiet: Cell<u64>,
    /// Whether an access to the program's memory has failed.
    pub faulted: AtomicU64,
    /// How many nanoseconds the program's clocks are ahead of the machine's.
    pub ahead: Cell<u64>,
    /// Which of the next reads of a clock stops, counted from 1; 0 for none.
    pub reads: Cell<u64>,
    /// What is decided in the process: a [`Decides`].
    pub decides: AtomicU64,
    /// Whether the running task is about to decide. If it is stopped then, it may still hand the core over, whatever
    /// `decides` is by now.
    pub deciding: AtomicU64,
    /// Number of notes at [`NOTES`].
    pub notes: Cell<u64>,
    /// Determines whose turn it is.
    pub turns: Cell<Turns>,
    /// Number of tasks at [`RUNNABLE`]. The task that has the core is not among them.
    pub runnable: Cell<u64>,
    /// The number of the running task's slot.
    pub slot: Cell<u64>,
    /// Log offset just past the entry by which the running task got the core; 0 if there is none.
    pub handed: Cell<u64>,
    /// The slot number of the task that hands the core over, and the slot address of the task that gets it.
    pub hands: Cell<u64>,
    /// See `hands`.
    pub next: Cell<u64>,
    /// The running task's process.
    pub pid: Cell<u64>,
    /// The number of the running task's address space.
    pub space: Cell<u64>,
    /// The thread id of the running task.
    pub tid: Cell<u64>,
    /// The cores that the running task is told it may use, a bit each.
    pub affinity: Cell<u64>,
    /// The head of the running task's list of robust futexes; 0 for none.
    pub robust_list: Cell<u64>,
    /// The futex for which the task is about to wait with a stop, if its word has been found to have the expected
    /// value; 0 otherwise.
    pub waits: Cell<u64>,
    /// The address that the running task accesses after a tick that has used up the countdown (0 for a fence), and the
    /// [`AccessKind`].
    pub touched: Cell<u64>,
    /// See `touched`.
    pub kind: Cell<u64>,
    /// Whether a watched task has come to a call before which it is to stop.
    pub met: Cell<u64>,
    /// While the buffer's code looks at a tick: the program's rax, its stack pointer, and where it goes on.
    pub kept: Cell<u64>,
    /// See `kept`.
    pub sp: Cell<u64>,
    /// See `kept`.
    pub back: Cell<u64>,
    /// Ticks until the running task must ask the scheduler while it is watched; the countdown is 1 at each of them.
    pub left: AtomicU64,
    /// How the task is watched.
    pub watch: Cell<Watch>,
    /// The program's stack pointer while a moved instruction is done.
    pub reader: Cell<u64>,
    /// A register's value while a moved instruction uses that register in place of a relative address.
    pub spare: Cell<u64>,
    /// Whether the program starts up: the recorder must know before reads that vary from run to run.
    pub starting: Cell<u64>,
    /// Cycles of the time-stamp counter per nanosecond, times 2 to the power of 32. Needed only if `ahead` is not 0.
    pub rate: Cell<u64>,
    /// The time-stamp counter that the dynamic linker has last read.
    pub linked: Cell<u64>,
    /// State of a stream of random numbers for the program; never 0.
    pub random: Cell<u64>,
    /// Whether the recorder must know the signal mask: calls that change it are made with a stop.
    pub masked: Cell<u64>,
    /// Whether time was fast-forwarded, and the kernel may still give files timestamps from before that.
    pub stale: Cell<u64>,
    /// The processor that the program sees, by its number: a [`Processor`](crate::processor::Processor).
    pub processor: Cell<u64>,
    /// How many nanoseconds the program's wall clocks differ from the machine's, and its clocks that count from boot:
    /// `ahead`, and where they stood when the attempt began. May be negative.
    pub wall: Cell<i64>,
    /// See `wall`.
    pub up: Cell<i64>,
    /// Whether calls that report times of files and of the system are made with a stop, since the program is told
    /// others.
    pub told: Cell<u64>,
    /// Whether calls that list directories are made with a stop, since the program is told another order.
    pub listed: Cell<u64>,
    /// Whether calls that map memory are made with a stop, since the recorder chooses the place.
    pub placed: Cell<u64>,
    /// Whether files with a quota of processor time are opened with a stop, since the program is told of none.
    pub quota: Cell<u64>,
}

/// The clocks that tell the date, a bit each, by their numbers in linux/time.h: CLOCK_REALTIME, its coarse and alarm
/// variants, CLOCK_TAI. The others that are the same for all processes count from boot.
pub const WALL_CLOCKS: u64 = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 11;

/// How a task is watched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Whether it is watched.
    pub on: u64,
    /// The task's number.
    pub task: u64,
    /// State of a stream of random numbers; never 0.
    pub random: u64,
    /// A number is drawn for each access that counts. The task stops if it is less than this.
    pub bar: u64,
    /// The bar is shifted down by this many bits if no other task is known to have touched the object.
    pub alone: u64,
    /// What other tasks are about to access, a bit for each ([`crate::objects::mark`]). The task always stops there.
    pub pending: u64,
    /// After 2 to this power counted accesses, of either kind, ever fewer count.
    pub budget: u64,
    /// The number drawn last.
    pub drawn: u64,
    /// Counted accesses of all tasks.
    pub events: u64,
    /// Counted accesses to objects that no other task is known to have touched.
    pub fresh: u64,
}

/// An object: what is at an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The address; 0 for none.
    pub address: u64,
    /// How often it has been touched.
    pub touched: u32,
    /// Who has touched it, a bit each (tasks with the same number modulo 31 share one); and whether it has been
    /// written.
    pub by: u32,
}

/// What is decided in the process, without a stop.
#[repr(u64)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decides {
    /// Nothing.
    #[default]
    Nothing = 0,
    /// A task that wakes others goes on.
    Wakes = 1,
    /// Also, a task that begins to wait hands the core to the task chosen by [`Shared::turns`].
    All = 2,
}

/// What the system-call buffer does.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: every call stops.
    Off = 0,
    /// It makes calls and logs them.
    Record = 1,
    /// It takes the outcomes of calls from the log.
    Replay = 2,
}

/// What a descriptor refers to, as far as the system-call buffer cares.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// Not known yet, or something else.
    Unknown = 0,
    /// A file that never blocks and that no process maps.
    Ready = 1,
    /// The program's standard output.
    Stdout = 2,
    /// Its standard error.
    Stderr = 3,
    /// Something that may block, with one reader.
    Waitable = 4,
}

/// The start of an entry of the log; its payload follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Size of the payload: what the call wrote to memory, what the program wrote to an output stream, or which file it opened.
    pub payload: u32,
    /// The call's number; in the high bits the output stream to which it wrote (a [`Descriptor`], times
    /// [`Entry::STREAM`]).
    pub number: u16,
    /// A digest of the arguments.
    pub check: u16,
    /// The call's result.
    pub result: i64,
}

/// The payload of an entry for a hand-over of the core.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// The other task's timeslice.
    pub slice: u64,
    /// The other task's number.
    pub task: u32,
    /// The other task's slot number.
    pub to: u16,
    /// The waiting task's slot number.
    pub from: u16,
    /// Low half of what was left of the countdown.
    pub left: u32,
    /// Low half of the stack pointer.
    pub sp: u32,
}

impl Entry {
    /// The stream of an entry with a [`HandOver`].
    pub const HANDS_OVER: u16 = 8;

    /// The factor of the stream in [`Entry::number`].
    pub const STREAM: u16 = 1 << 12;

    /// Returns the size of an entry with its payload; entries start at multiples of 8.
    #[must_use]
    #[inline]
    pub const fn size(payload: usize) -> usize {
        size_of::<Self>() + payload.next_multiple_of(8)
    }
}

/// What the operation after a tick does to its address.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessKind {
    /// An atomic load.
    AtomicLoad = 0,
    /// An atomic store.
    AtomicStore = 1,
    /// An atomic read-modify-write, whether it succeeds or not.
    AtomicUpdate = 2,
    /// A fence; its address is 0.
    Fence = 3,
    /// A plain load (`--preempt memory`).
    Load = 4,
    /// A plain store (`--preempt memory`).
    Store = 5,
}

impl AccessKind {
    /// Returns the kind with this number in [`Shared::kind`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::AtomicLoad, Self::AtomicStore, Self::AtomicUpdate, Self::Fence, Self::Load, Self::Store]
            .into_iter()
            .find(|kind| *kind as u64 == raw)
    }
}
