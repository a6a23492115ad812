//! The events of a recording, in the order in which they happened.
//!
//! One task runs at a time, so the events of all tasks form one sequence. [`Event::Run`] hands the core to a task; the
//! events up to the next `Run` are that task's.

use serde::{Deserialize, Serialize};

use crate::ending::Ending;
use crate::task::TaskId;
pub use crate::tracee::Registers;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The process image, as the kernel left it after execve(2). The first event.
    Image(Image),
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
    /// The running task made a system call.
    Syscall(Syscall),
    /// The running task read the time-stamp counter.
    Counter(Counter),
    /// A signal reached the running task.
    Signal(Signal),
    /// The process of this task was killed (SIGKILL), wherever its tasks were.
    Killed(TaskId),
    /// The program ended. The last event.
    Ended(Ending),
}

impl Event {
    /// Where the running task was, for the events that happen inside a task.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Tick(position) | Self::Entered(position) => Some(position),
            Self::Syscall(syscall) => Some(&syscall.position),
            Self::Counter(counter) => Some(&counter.position),
            Self::Signal(signal) => Some(&signal.position),
            Self::Image(_) | Self::Run { .. } | Self::Cut(_) | Self::Killed(_) | Self::Ended(_) => None,
        }
    }

    pub(super) fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Self::Tick(position) | Self::Entered(position) => Some(position),
            Self::Syscall(syscall) => Some(&mut syscall.position),
            Self::Counter(counter) => Some(&mut counter.position),
            Self::Signal(signal) => Some(&mut signal.position),
            Self::Image(_) | Self::Run { .. } | Self::Cut(_) | Self::Killed(_) | Self::Ended(_) => None,
        }
    }
}

/// Where a task was when an event happened: replay must find it at the same position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What was left of the countdown.
    pub left: u64,
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// A digest of the general registers.
    pub digest: u32,
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
    /// What else it did, for the calls that replay carries out.
    pub effect: Effect,
}

/// Bytes that appear in a process's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub address: u64,
    /// What.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
}

/// What a system call did beyond its result and its writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing.
    None,
    /// It wrote to the program's standard output or error: the first `result` bytes its arguments name.
    Output(Stream),
    /// It mapped a file.
    MapFile(FileRange),
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

/// A read of the time-stamp counter (the instructions rdtsc and rdtscp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The position of the instruction.
    pub position: Position,
    /// What it read.
    pub value: u64,
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
    /// How many bytes it may grow downwards (the stack).
    pub room: u64,
    /// Its contents; none means zeros.
    pub file: Option<FileRange>,
}

/// A part of a file that was mapped. What lies past the file's end reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRange {
    /// Which file, an index into the trace's files.
    pub file: FileId,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
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
