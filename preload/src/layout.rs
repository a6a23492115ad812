//! What the recorder and the code inside the recorded process agree on.
//!
//! The recorder maps one shared area at [`AREA`] into every process it records (`MAP_SHARED`, so forked children see
//! the same one). Only one task of the whole process tree runs at a time, so plain loads and stores suffice.

/// Address of the shared area. Low, so that neither a position-independent program nor its mappings come near it, and below
/// 2 GiB, so that an instruction can name any address in it.
pub const AREA: usize = 0x7000_0000;

/// Bytes of the shared area, of which only those are ever backed by memory that are used.
pub const AREA_LEN: usize = 132 << 20;

/// Address of the code with which the recorder has calls made.
pub const INJECTION: usize = AREA + 0x1000;

/// Address of the system-call buffer's code, the same bytes in every process: those of [`crate::BUFFER`].
pub const BUFFER: usize = AREA + 0x2000;

/// Bytes there are for that code.
pub const BUFFER_LEN: usize = 0x8000;

/// The address behind the one `syscall` instruction of the buffer's code: the filter lets calls through that come from there.
pub const UNTRACED: usize = BUFFER + 2;

/// Where patched call sites enter the buffer, with the address of their stub in ecx.
pub const ENTRY: usize = BUFFER + 0x10;

/// Where the address is to which a tick goes that has used up the countdown: the runtime jumps there with that of its own
/// `syscall` instruction in rax, and what was in rax in [`Shared::kept`]. The task comes back there, with [`SYS_TICK`] in
/// rax, or behind it, with all registers as they were.
pub const TICK: usize = BUFFER + 8;

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
}

/// A wake that has been made without a stop: its waiters have yet to become able to run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// The futex's address, in the address space of the task that has the core.
    pub address: u64,
    /// How many are woken at most.
    pub count: u64,
    /// What was left of the countdown then.
    pub left: u64,
}

/// Address of the wakes that have been made without a stop.
pub const WAKES: usize = WAITERS + CROWDS * size_of::<Crowd>();

/// How many of them there is room for.
pub const WAKES_MOST: usize = 64;

/// Which entry of the table at [`WAITERS`] has the waiters for the futex at `address`, among others.
#[must_use]
#[inline]
pub const fn crowd(address: u64) -> usize {
    (address >> 2) as usize % CROWDS
}

/// Address of the tables of what the processes' descriptors stand for.
pub const DESCRIPTORS: usize = WAKES + WAKES_MOST * 64;

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

/// Address of scratch memory, into which the kernel writes what it has for a task that is blocked while others run.
pub const SCRATCH: usize = TABLE + OBJECTS * 16;

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
    /// Whether a task that wakes others goes on for sure, so that it need not stop for that.
    pub defers: u64,
    /// How many wakes there are at [`WAKES`].
    pub wakes: u64,
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

impl Entry {
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
