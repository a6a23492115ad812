//! What the recorder and the code inside the recorded process agree on.
//!
//! The recorder maps one shared area at [`AREA`] into every process it records (`MAP_SHARED`, so forked children see
//! the same one). Only one task of the whole process tree runs at a time, so plain loads and stores suffice.

/// Address of the shared area. Low, so that neither a position-independent program nor its mappings come near it, and below
/// 2 GiB, so that an instruction can name any address in it.
pub const AREA: usize = 0x7000_0000;

/// Bytes of the shared area, of which only those are ever backed by memory that are used.
pub const AREA_LEN: usize = 133 << 20;

/// Address of the code with which the recorder has calls made.
pub const INJECTION: usize = AREA + 0x1000;

/// Address of the system-call buffer's code, the same bytes in every process: those of [`crate::BUFFER`].
pub const BUFFER: usize = AREA + 0x2000;

/// Bytes there are for that code.
pub const BUFFER_LEN: usize = 0x8000;

/// The address behind the one `syscall` instruction of the buffer's code: the filter lets calls through that come from there.
pub const UNTRACED: usize = BUFFER + 2;

/// Where patched call sites enter the buffer, with the address of their stub in ecx.
pub const ENTRY: usize = BUFFER + 0x20;

/// Where the address is to which a tick goes that has used up the countdown: the runtime jumps there with that of its own
/// `syscall` instruction in rax, and what was in rax in [`Shared::kept`]. The task comes back there, with [`SYS_TICK`] in
/// rax, or behind it, with all registers as they were.
pub const TICK: usize = BUFFER + 8;

/// Where the address is at which a parked task waits for the core, with the address of its [`Slot`] in rbx and the stack pointer
/// at the end of [`Slot::stack`].
pub const PARKED: usize = BUFFER + 0x10;

/// Where the address is at which a stub has an instruction done that reads what the program cannot know ([`crate::reads`]): called
/// with the word for that on our stack, the program's stack pointer in [`Shared::reader`].
pub const READ: usize = BUFFER + 0x18;

/// Bytes of the instructions of the buffer's code that access memory of the program's. If one faults, the recorder skips it
/// and sets [`Shared::faulted`]; the call is then made with a stop, and the kernel says what there is to say.
pub const FAULTING_LEN: u64 = 2;

/// Bytes of a stub, which a patched call site jumps to.
pub const STUB_LEN: usize = 128;

/// Address of the stubs.
pub const STUBS: usize = AREA + 0x1_0000;

/// How many stubs there is room for.
pub const STUBS_MOST: usize = 8192;

/// Offset in a stub of the `syscall` instruction that stops.
pub const STUB_TRACED: usize = 22;

/// Offset in a stub of what comes after the call.
pub const STUB_DONE: usize = 24;

/// Address of the table of who waits for futexes: [`CROWDS`] of [`Crowd`], by [`crowd`].
pub const WAITERS: usize = STUBS + STUBS_MOST * STUB_LEN;

/// How many crowds that table has.
pub const CROWDS: usize = 4096;

/// What is known of the tasks that wait for some futexes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// How many they are.
    pub tasks: u32,
    /// The address space of the one private futex that they all wait for, as far as a wake of any bitset would wake them.
    pub space: u32,
    /// That futex's address; 0 if there is no such one.
    pub address: u64,
    /// The [`Slot`] of the one that has waited longest, by its number and one; 0 if not all have one. The others follow by
    /// [`Slot::behind`].
    pub first: u32,
    /// That of the one that has come last.
    pub last: u32,
}

/// What tasks have done without a stop that the recorder has to carry out: a wake, or a task has begun to wait for a futex and
/// handed the core over to another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The futex's address, in the address space of the task that has the core.
    pub address: u64,
    /// For a wake, how many are woken at most.
    pub count: u32,
    /// For a wait, the number of the task that gets the core, and one. 0 for a wake.
    pub to: u32,
    /// What was left of the countdown then.
    pub left: u64,
    /// For a wait, the other task's timeslice.
    pub slice: u64,
    /// For a wait, [`Watch::events`] then.
    pub events: u64,
}

/// Address of these notes.
pub const NOTES: usize = WAITERS + CROWDS * size_of::<Crowd>();

/// How many of them there is room for.
pub const NOTES_MOST: usize = 1024;

/// Which entry of the table at [`WAITERS`] has the waiters for the futex at `address`, among others.
#[must_use]
#[inline]
pub const fn crowd(address: u64) -> usize {
    (address >> 2) as usize % CROWDS
}

/// Address of the tables of what the processes' descriptors stand for.
pub const DESCRIPTORS: usize = NOTES + NOTES_MOST * size_of::<Note>();

/// How many descriptors such a table has, a byte each: a [`Descriptor`].
pub const DESCRIPTORS_LEN: usize = 1024;

/// How many such tables there are.
pub const DESCRIPTORS_MOST: usize = 256;

/// Address of the stack on which the buffer's code runs: its end.
pub const STACK: usize = DESCRIPTORS + DESCRIPTORS_LEN * DESCRIPTORS_MOST + 0x4000;

/// Address of the log that the buffer's code writes when recording and reads when replaying.
pub const LOG: usize = STACK;

/// Bytes of the log.
pub const LOG_LEN: usize = 1 << 20;

/// Address of the table of objects ([`crate::objects`]).
pub const TABLE: usize = LOG + LOG_LEN;

/// How many objects it has room for, 16 bytes each.
pub const OBJECTS: usize = 4096;

const _: () = assert!(size_of::<Object>() == 16);

/// Address of the tasks' [`Slot`]s, by the number of their scratch memory.
pub const SLOTS: usize = (TABLE + OBJECTS * 16).next_multiple_of(size_of::<Slot>());

/// How many slots there are.
pub const SLOTS_MOST: usize = 2048;

/// Address of when the tasks ran last ([`Turns::decisions`]), by the numbers of their slots.
pub const LAST_RAN: usize = SLOTS + SLOTS_MOST * size_of::<Slot>();

/// Address of the tasks that could have the core, [`runnable`] of each, in order of task number.
pub const RUNNABLE: usize = LAST_RAN + SLOTS_MOST * 8;

/// A task that could have the core: its number, and that of its slot.
#[must_use]
#[inline]
pub const fn runnable(task: u32, slot: u32) -> u64 {
    (task as u64) << 32 | slot as u64
}

/// Address of scratch memory, into which the kernel writes what it has for a task that is blocked while others run.
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

/// What there is of a task for those that hand the core over to it without a stop.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// A futex: 1 if the task is to go on.
    pub turn: u32,
    /// Whether it is parked: it waits for `turn`, or is about to.
    pub parked: u32,
    /// The number of the slot of the next one that waits for the same futex, and one; 0 for none.
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
    /// With what it goes on: the general registers by the numbers that instructions have for them (Intel SDM, volume 2,
    /// 3.1.1.3). As after a system call, rcx and r11 have the instruction pointer and the flags.
    pub registers: [u64; 16],
    /// On which a parked task makes its calls.
    pub stack: [u64; 4],
    /// To be large enough for whole cache lines.
    pub unused: [u64; 6],
}

const _: () = assert!(size_of::<Slot>() == 256);

/// What the next turn of the fair strategy depends on, beside when each task ran last (see `turns`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// A stream of random numbers; never 0.
    pub random: u64,
    /// How many decisions there have been.
    pub decisions: u64,
}

/// The system call number with which the runtime says "the countdown reached zero".
///
/// What the coming operation touches is in [`Shared::touched`] and [`Shared::kind`]. The result is ignored. No kernel has a
/// call of this number; the recorder never lets it through.
pub const SYS_TICK: usize = 21074;

/// The system call number with which the runtime says "I am here". Returns 1 under the recorder; `-ENOSYS` from a
/// kernel, which means that nobody records.
pub const SYS_HELLO: usize = 21075;

/// The system call number that ends code injected by the recorder.
pub const SYS_INJECTED: usize = 21076;

/// The system call number with which the buffer says that an instruction cannot be done now: its log is full, or
/// [`Shared::starting`] is set. It looks again then.
pub const SYS_READ: usize = 21077;

/// The first page of the shared area.
#[repr(C)]
pub struct Shared {
    /// Ticks until the running task must ask the scheduler. Each tick decrements it; at zero the runtime goes to where
    /// [`TICK`] says.
    pub countdown: u64,
    /// The end of the stack of the system-call buffer's code; while that runs, the program's stack pointer.
    pub parked: u64,
    /// What the system-call buffer does: a [`Mode`].
    pub mode: u64,
    /// The end of the log's entries so far when recording, of those that have been taken when replaying, in bytes.
    pub cursor: u64,
    /// When replaying, the end of the log's entries, in bytes.
    pub end: u64,
    /// The address of the running process's table of descriptors; 0 if nothing is known of them.
    pub descriptors: u64,
    /// Whether no task waits in the kernel, so that no call can wake one.
    pub quiet: u64,
    /// Whether an access to the program's memory has failed.
    pub faulted: u64,
    /// By how many nanoseconds the program's clocks are ahead of the machine's.
    pub ahead: u64,
    /// Which of the reads of a clock to come is to stop, from 1; 0 for none.
    pub reads: u64,
    /// What is decided in the process: a [`Decides`].
    pub decides: u64,
    /// Whether the running task is about to decide. What is stopped then has not come to an end: it may still hand the core over,
    /// whatever `decides` is by now.
    pub deciding: u64,
    /// How many notes there are at [`NOTES`].
    pub notes: u64,
    /// What decides.
    pub turns: Turns,
    /// How many tasks there are at [`RUNNABLE`]. That which has the core is not among them.
    pub runnable: u64,
    /// The number of the running task's slot.
    pub slot: u64,
    /// Behind which byte of the log the entry is with which the running task has got the core; 0 if there is none.
    pub handed: u64,
    /// The number of the slot of the task that hands the core over, and the address of that which gets it.
    pub hands: u64,
    /// See `hands`.
    pub next: u64,
    /// The running task's process.
    pub pid: u64,
    /// The number of the running task's address space.
    pub space: u64,
    /// The thread id of the running task.
    pub tid: u64,
    /// The cores that it is told it may use, a bit each.
    pub affinity: u64,
    /// The head of its list of robust futexes; 0 for none.
    pub robust_list: u64,
    /// The futex that the task is about to wait for with a stop: its word has been looked at, and has the value to wait
    /// with. 0 for none.
    pub waits: u64,
    /// What the running task touches after a tick that has used up the countdown (0 for a fence), and its [`Kind`].
    pub touched: u64,
    /// See `touched`.
    pub kind: u64,
    /// Whether a watched task has come to a call in front of which it is to stop.
    pub met: u64,
    /// While the buffer's code looks at a tick: the program's rax, its stack pointer, and where it goes on.
    pub kept: u64,
    /// See `kept`.
    pub sp: u64,
    /// See `kept`.
    pub back: u64,
    /// Ticks until the running task must ask the scheduler while it is watched; the countdown is 1 at each of them.
    pub left: u64,
    /// How it is watched.
    pub watch: Watch,
    /// The program's stack pointer while an instruction is done in its place.
    pub reader: u64,
    /// What a moved instruction keeps here that needs a register more than it has, while it is done.
    pub spare: u64,
    /// Whether the program starts up: the recorder is to know before it reads what differs from run to run.
    pub starting: u64,
    /// How many cycles of the time-stamp counter there are to a nanosecond, times 2 to the power of 32. Only needed where `ahead`
    /// is not 0.
    pub rate: u64,
    /// What the dynamic linker has been told of the time-stamp counter.
    pub linked: u64,
    /// A stream of random numbers for the program; never 0.
    pub random: u64,
    /// Whether the recorder must know what signals are blocked: calls that change that are made with a stop.
    pub masked: u64,
    /// Whether time has leapt, and the kernel may still stamp files as of before that.
    pub stale: u64,
    /// The processor that the program sees, by its number: a [`Processor`](crate::processor::Processor).
    pub processor: u64,
}

/// How a task is watched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Whether it is.
    pub on: u64,
    /// The number of the task.
    pub task: u64,
    /// A stream of random numbers; never 0.
    pub random: u64,
    /// For each touch that counts a number is drawn. The task stops if it is less than this.
    pub bar: u64,
    /// It is shifted down by so many bits where nobody else has touched the object, as far as known.
    pub alone: u64,
    /// What other tasks are about to touch, a bit for each ([`crate::objects::mark`]): there the task stops in any case.
    pub pending: u64,
    /// After 2 to this power touches that counted, of either sort, ever fewer of them do.
    pub budget: u64,
    /// The number drawn last.
    pub drawn: u64,
    /// Touches that counted, of all tasks.
    pub events: u64,
    /// Those of them of objects that nobody else has touched, as far as known.
    pub fresh: u64,
}

/// An object: what is at an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Where; 0 for none.
    pub address: u64,
    /// How often it has been touched.
    pub touched: u32,
    /// By whom: a bit each, tasks that have the same number modulo 31 together; and whether somebody has written it.
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
    /// And one that begins to wait hands the core over, to whom [`Shared::turns`] says.
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

/// What a descriptor stands for, as far as the system-call buffer cares.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// Nobody has looked yet, or it is something else.
    Unknown = 0,
    /// A file that never blocks and that no process maps.
    Ready = 1,
    /// The program's standard output.
    Stdout = 2,
    /// Its standard error.
    Stderr = 3,
    /// Something that may have to be waited for, with one reader.
    Waitable = 4,
}

/// The start of an entry of the log; its payload follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes of the payload: what the call wrote to memory, or what the program wrote to an output stream.
    pub payload: u32,
    /// The call's number, and in the high bits the output stream that it wrote to (a [`Descriptor`], times
    /// [`Entry::STREAM`]).
    pub number: u16,
    /// A digest of the arguments.
    pub check: u16,
    /// What it returned.
    pub result: i64,
}

/// The payload of an entry of a task that has handed the core over to another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// The other's timeslice.
    pub slice: u64,
    /// The number of the other.
    pub task: u32,
    /// That of its slot.
    pub to: u16,
    /// That of the slot of the task that waits.
    pub from: u16,
    /// What was left of the countdown, the low half.
    pub left: u32,
    /// The stack pointer, the low half.
    pub sp: u32,
}

impl Entry {
    /// The stream of an entry that has a [`HandOver`].
    pub const HANDS_OVER: u16 = 8;

    /// By what the stream is multiplied in [`Entry::number`].
    pub const STREAM: u16 = 1 << 12;

    /// Bytes of an entry with its payload; entries start at multiples of 8.
    #[must_use]
    #[inline]
    pub const fn size(payload: usize) -> usize {
        size_of::<Self>() + payload.next_multiple_of(8)
    }
}

/// What the operation behind a tick does to its address.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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

impl Kind {
    /// The kind that has this number in [`Shared::kind`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::AtomicLoad, Self::AtomicStore, Self::AtomicUpdate, Self::Fence, Self::Load, Self::Store]
            .into_iter()
            .find(|kind| *kind as u64 == raw)
    }
}
