//! The events of a recording, in the order in which they happened.
//!
//! One task runs at a time, so the events of all tasks form one sequence. [`Event::Run`] hands the core to a task; the
//! events up to the next `Run` are that task's, or those of the task to which it hands the core over itself on the way
//! ([`Event::Buffered`]).

use std::iter;

use rrtest_preload::layout::Descriptor;
use serde::{Deserialize, Serialize};

use super::BLOCK;
use crate::ending::Ending;
use crate::task::TaskId;
pub use crate::tracee::{Registers, Vectors};

/// One event. New kinds come last: their encodings then mean nothing else in older traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The process image, as the kernel left it after execve(2). The first event.
    Image(Image),
    /// The system-call buffer that all its processes have, by its version
    /// ([`BUFFER_VERSION`](rrtest_preload::layout::BUFFER_VERSION)). The second event.
    Buffer(u32),
    /// A task gets the core.
    Run {
        /// Which task.
        task: TaskId,
        /// The countdown it starts with, in ticks.
        slice: u64,
        /// Whether the task that had it could have gone on.
        preempts: bool,
    },
    /// The countdown is set anew, to so many ticks from the last event on: the running task has run for too long.
    Cut(u64),
    /// The running task's countdown reached zero at a compiled-in tick.
    Tick(Position),
    /// The running task came to a system call and lost the core before it was made.
    Entered(Position),
    /// A call site leads into the system-call buffer from now on.
    Patched(Patched),
    /// On the way to the next event, the running task made these calls without a stop, and so did those to which the
    /// core was handed over by some of them: the log of the system-call buffer
    /// ([`buffered_calls`](crate::tracee::buffered_calls)).
    Buffered(#[serde(with = "bytes")] Vec<u8>),
    /// The running task made a system call.
    Syscall(Syscall),
    /// Code that a task has mapped reads what the program cannot know: it leads into the buffer from now on.
    MovedReads(MovedReads),
    /// The running task came to an instruction that does, and the buffer's log was taken before that was logged.
    Drained(Position),
    /// The running task came to one in place of which is a trap.
    TrappedRead(TrappedRead),
    /// A signal reached the running task.
    Signal(Signal),
    /// The kernel wrote memory in the middle of a call, or as a task ended.
    Written(Written),
    /// The running task was stopped in the middle of user code.
    AsyncStop(AsyncStop),
    /// The process of this task was killed (SIGKILL), wherever its tasks were.
    Killed(TaskId),
    /// A task that has come to a call is parked: others can let it go on without a stop.
    Parked(Parked),
    /// A parked task stands at its call again.
    Unparked(TaskId),
    /// The program ended. The last event.
    Ended(Ending),
}

impl Event {
    /// Where the running task was, for the events that happen inside a task.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Tick(position) | Self::Entered(position) | Self::Drained(position) => Some(position),
            Self::Syscall(syscall) => Some(&syscall.position),
            Self::TrappedRead(read) => Some(&read.position),
            Self::Signal(signal) => Some(&signal.position),
            Self::AsyncStop(async_stop) => Some(&async_stop.position),
            Self::Image(_)
            | Self::Buffer(_)
            | Self::Patched(_)
            | Self::MovedReads(_)
            | Self::Buffered(_)
            | Self::Run { .. }
            | Self::Cut(_)
            | Self::Killed(_)
            | Self::Written(_)
            | Self::Parked(_)
            | Self::Unparked(_)
            | Self::Ended(_) => None,
        }
    }

    pub(super) fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Self::Tick(position) | Self::Entered(position) | Self::Drained(position) => Some(position),
            Self::Syscall(syscall) => Some(&mut syscall.position),
            Self::TrappedRead(read) => Some(&mut read.position),
            Self::Signal(signal) => Some(&mut signal.position),
            Self::AsyncStop(async_stop) => Some(&mut async_stop.position),
            Self::Image(_)
            | Self::Buffer(_)
            | Self::Patched(_)
            | Self::MovedReads(_)
            | Self::Buffered(_)
            | Self::Run { .. }
            | Self::Cut(_)
            | Self::Killed(_)
            | Self::Written(_)
            | Self::Parked(_)
            | Self::Unparked(_)
            | Self::Ended(_) => None,
        }
    }
}

/// Where a task was when an event happened: replay must find it at the same position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What was left of the countdown.
    pub left: u64,
    /// The registers, as far as they must be the same ([`Registers::kept`]).
    #[serde(with = "super::sparse")]
    pub registers: Registers,
}

impl Position {
    /// Where a task is that stands at these registers with so much left of the countdown.
    #[must_use]
    pub fn of(left: u64, registers: &Registers) -> Self {
        Self { left, registers: registers.kept() }
    }
}

/// A call site, from whose `syscall` instruction on the code is replaced by a jump to a stub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patched {
    /// The address of the instruction.
    pub site: u64,
    /// The new code there.
    #[serde(with = "bytes")]
    pub code: Vec<u8>,
    /// The address of the stub.
    pub stub: u64,
    /// Its code.
    #[serde(with = "bytes")]
    pub stub_code: Vec<u8>,
    /// Tasks that have come to a call there, which they make in the stub now: the running one first, then others that
    /// wait.
    pub here: Vec<TaskId>,
    /// Where their instruction pointers are then.
    pub traced: u64,
    /// Which places in the stub stand for which in the program's code: offset in the stub, offset from the site.
    pub places: Vec<(u8, i64)>,
}

/// A task that is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Which task.
    pub task: TaskId,
    /// The number of its slot, which others say to let it go on.
    pub slot: u32,
}

/// A system call with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Syscall {
    /// The position at the call.
    pub position: Position,
    /// Its number.
    pub number: u64,
    /// Its arguments as the program passed them.
    pub args: [u64; 6],
    /// What it returned; for a call that does not return, 0.
    pub result: i64,
    /// What the kernel wrote into the program's memory.
    pub writes: Vec<Write>,
    /// A digest of the bytes that it took from the program's memory to write or send them
    /// ([`given`](crate::syscalls::given)); 0 if it took none.
    pub given: u32,
    /// The paths and socket addresses that it took from the program's memory ([`names`](crate::syscalls::names)).
    pub names: Vec<Name>,
    /// What else it did, for the calls that replay carries out.
    pub effect: Effect,
}

/// A path or a socket address, as the bytes that a call was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(#[serde(with = "bytes")] pub Vec<u8>);

/// Bytes that appear in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub address: u64,
    /// What.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// What appeared in the memory of a task other than by its own doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Whose memory.
    pub task: TaskId,
    /// What.
    pub writes: Vec<Write>,
}

/// What a system call did beyond its result and its writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing.
    None,
    /// It wrote this to the program's standard output or error.
    Output(Stream, #[serde(with = "bytes")] Vec<u8>),
    /// It mapped a file.
    MapFile(Backing),
    /// It changed a file that is mapped.
    ChangeFile(FileChange),
    /// It unmapped these parts of memory, each with its address and its length: shmdt(2), and calls that fail after
    /// they have made room.
    Unmap(Vec<(u64, u64)>),
    /// Its advice took effect on so many bytes from its first argument on, though it failed (madvise(2)).
    Advised(u64),
    /// It created this task.
    Spawned(TaskId),
    /// It replaced its process by this image, of which the task is the only one.
    Executed(Box<Image>),
}

/// An output stream of the recorded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stream that the system-call buffer's word for a descriptor stands for.
    #[must_use]
    pub fn of(descriptor: Descriptor) -> Option<Self> {
        match descriptor {
            Descriptor::Stdout => Some(Self::Stdout),
            Descriptor::Stderr => Some(Self::Stderr),
            Descriptor::Unknown | Descriptor::Ready | Descriptor::Waitable => None,
        }
    }
}

/// Instructions that read what the program cannot know, in code that a task has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedReads {
    /// Which task.
    pub task: TaskId,
    /// The instructions.
    pub moved: Vec<MovedRead>,
}

/// One of them, in place of which, and of what stands beside it, is a jump to a stub; or a trap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedRead {
    /// Where that begins.
    pub site: u64,
    /// The new code there.
    #[serde(with = "bytes")]
    pub code: Vec<u8>,
    /// The address of the stub.
    pub stub: u64,
    /// Its code; empty if it is there already, or none is needed.
    #[serde(with = "bytes")]
    pub stub_code: Vec<u8>,
    /// As in [`Patched`].
    pub places: Vec<(u8, i64)>,
}

/// An instruction that reads what the program cannot know, and stands where it cannot be moved from: a trap is in its
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrappedRead {
    /// The position, behind the trap.
    pub position: Position,
    /// Which instruction it is: the word of a [`What`](rrtest_preload::reads::What).
    pub what: u32,
    /// Its length.
    pub len: u8,
    /// What it read.
    pub value: u64,
    /// What cpuid wrote to its registers, or the core's number.
    pub more: [u32; 4],
}

/// A moment in the middle of user code, where nothing counts: the first since the last event at which all of this
/// holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncStop {
    /// The position.
    pub position: Position,
    /// The registers.
    pub registers: Registers,
    /// The number of a general register that differs most of the time before.
    pub key: Option<u8>,
    /// Words of memory that differ when the registers are the same: address and value.
    pub words: Vec<(u64, u64)>,
    /// More memory.
    pub memory: Vec<Extent>,
    /// The floating-point and vector registers.
    pub vectors: Vectors,
}

/// A part of memory with a digest of its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// The digest.
    pub digest: u32,
}

/// A signal that was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The position at which it was delivered.
    pub position: Position,
    /// Its number.
    pub number: i32,
    /// Whether the task's own instruction raised it (a bad access, say): it comes again in replay by itself.
    pub fault: bool,
    /// If a handler ran: how it began.
    pub handler: Option<Handler>,
}

/// A signal handler's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// Registers at the handler's first instruction.
    pub registers: Registers,
    /// What had appeared in memory: the frame on the stack, and before it what a call left that the signal interrupted
    /// (the remaining time of nanosleep(2)).
    pub writes: Vec<Write>,
}

/// A process image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The executable's path.
    pub program: String,
    /// All mappings, by address.
    pub mappings: Vec<Mapping>,
    /// Contents that differ from what `mappings` say.
    pub writes: Vec<Write>,
    /// Registers at the first instruction.
    pub registers: Registers,
}

/// One mapping of a process image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// `PROT_*` of mmap(2).
    pub prot: i32,
    /// How many bytes it may grow downwards (the stack), as far as nothing else is there.
    pub room: u64,
    /// Its contents; none means zeros.
    pub file: Option<Backing>,
}

/// A file that the program maps, as the object that all mappings of it show, whatever its names and its contents at a
/// time. The first is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Inode(pub u32);

/// What a mapping of a file shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backing {
    /// The file.
    pub inode: Inode,
    /// Its size when it was mapped. Behind it, the last page reads as zeros; further pages raise SIGBUS.
    pub size: u64,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Whether stores can go through the mapping into the file, now or after an mprotect(2).
    pub stored: bool,
    /// Contents that no event before this one told of.
    pub loads: Vec<Load>,
}

/// Contents of a mapped file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Offset in the mapped file.
    pub at: u64,
    /// Where the trace has them.
    pub contents: FileRange,
}

/// What a system call changed of a file that is mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The file.
    pub inode: Inode,
    /// Its size after the call.
    pub size: u64,
    /// New contents of what has been mapped; the addresses are offsets in the file.
    pub writes: Vec<Write>,
    /// What has been mapped and is zeros now, without there being any: offsets and lengths.
    pub holes: Vec<(u64, u64)>,
}

/// A part of a file whose contents the trace carries. What lies past the file's end reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRange {
    /// Which file, an index into the trace's files.
    pub file: FileId,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl FileRange {
    /// Its parts in turn, each in one block of the trace, so that none needs more memory than that.
    pub fn pieces(self) -> impl Iterator<Item = Self> {
        let end = self.offset.saturating_add(self.len);
        let next = move |from: u64| (from / BLOCK + 1).saturating_mul(BLOCK).min(end);
        let starts = iter::successors(Some(self.offset), move |from| Some(next(*from)));
        let piece = move |from| Self { offset: from, len: next(from) - from, ..self };
        starts.take_while(move |from| *from < end).map(piece)
    }
}

/// A mapped file whose contents the trace carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// Byte strings as one block: serde would take a `Vec<u8>` for a sequence of numbers.
mod bytes {
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_one_block_each_and_all_there_is() {
        let pieces = |offset, len| -> Vec<(u64, u64)> {
            let range = FileRange { file: FileId(3), offset, len };
            range.pieces().take(4).map(|piece| (piece.offset, piece.len)).collect()
        };
        assert_eq!(pieces(10, 0), []);
        assert_eq!(pieces(0, BLOCK), [(0, BLOCK)]);
        assert_eq!(pieces(10, 5), [(10, 5)]);
        assert_eq!(pieces(BLOCK - 1, BLOCK + 2), [(BLOCK - 1, 1), (BLOCK, BLOCK), (2 * BLOCK, 1)]);
        assert_eq!(pieces(u64::MAX - 1, 9), [(u64::MAX - 1, 1)]);
    }
}
