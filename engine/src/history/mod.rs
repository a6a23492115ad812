//! What happens in a recorded run, as plain data for pictures: who has the core when, which system calls there are, and, in
//! stretches that the caller chooses, each operation of each thread with its place in the source.
//!
//! [`turns`] goes through the whole run, event by event. [`operations`] stops at every tick of the stretches. Both are told
//! by a replay, so that what they tell has been compared with the recording.
//!
//! This room stands on [`replay`](crate::replay), [`failure`](crate::failure) and [`carried`](crate::carried).

mod operations;
mod turns;
mod width;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_preload::layout::AccessKind;

use crate::ending::Frame;
use crate::output::Output;
use crate::task::TaskId;

pub use operations::operations;
pub use turns::turns;

/// How to replay for a history.
#[derive(Clone, Copy, Debug)]
pub struct How<'a> {
    /// The core to use.
    pub core: usize,
    /// Set to true to give up soon.
    pub stop: &'a AtomicBool,
    /// How long the process may run from one event to the next; past it the replay counts as diverged.
    pub patience: Duration,
}

/// A moment of a run, as it is counted for pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Ticks of all tasks since the program's start.
    pub ticks: u64,
    /// System calls of all tasks since then, as far as they are known one by one.
    pub calls: u64,
}

/// The course of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All tasks that there were, in the order of their numbers.
    pub threads: Vec<Thread>,
    /// Who had the core, in order. A turn of no ticks is one nevertheless.
    pub turns: Vec<Turn>,
    /// The system calls, in order.
    pub calls: Vec<Call>,
    /// The signals that were delivered, in order.
    pub signals: Vec<Signal>,
    /// What the program printed.
    pub output: Output,
    /// When the program ended.
    pub end: At,
    /// When each event of the trace had been carried out.
    pub events: Vec<At>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Which task.
    pub task: TaskId,
    /// The last name that its thread had.
    pub name: String,
    /// The first task of its process.
    pub process: TaskId,
}

/// A stretch during which a task had the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which task.
    pub task: TaskId,
    /// When it got the core.
    pub from: At,
    /// When it lost the core.
    pub to: At,
    /// Why it did.
    pub why: Lost,
}

/// Why a task loses the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It could have gone on.
    Preempted,
    /// It stands at a system call, by number, and waits there or has yielded.
    Waits(u64),
    /// It is no more.
    Gone,
    /// The program has ended.
    Ended,
    /// It is not known.
    Unknown,
}

/// A system call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The task that made it.
    pub task: TaskId,
    /// When. Of calls that were made without a stop only the order is known; they are spread over the time that they
    /// had.
    pub at: At,
    /// Its number.
    pub number: u64,
    /// What it returned.
    pub result: i64,
    /// Its arguments; none of a call that was made without a stop.
    pub args: Option<[u64; 6]>,
    /// The task that it has created.
    pub spawned: Option<TaskId>,
}

/// A signal that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The task that got it.
    pub task: TaskId,
    /// When.
    pub at: At,
    /// Its number.
    pub number: i32,
}

/// What a task did at a tick. Where a task is preempted in front of its operation, that is done when it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which task.
    pub task: TaskId,
    /// The number of the tick, of all tasks' ticks.
    pub tick: u64,
    /// The moment in front of the operation, for debuggers: events, and ticks since the last of them.
    pub moment: (u64, u64),
    /// What it did.
    pub what: What,
    /// Whether it has been done: a thread may end in front of it, and of a call that waits it is not known.
    pub is_done: bool,
    /// Where: its stack, innermost frame first.
    pub frames: Vec<Frame>,
}

/// What is done at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An access to memory.
    Access {
        /// How.
        kind: AccessKind,
        /// The address; 0 of a fence.
        address: u64,
        /// Its size in bytes, if known.
        len: Option<u8>,
        /// What was there afterwards, if that is known: what a load has read, what another operation has left.
        value: Option<u64>,
    },
    /// A system call.
    Call {
        /// Its number.
        number: u64,
        /// What it returned; none if it has not, or not yet.
        result: Option<i64>,
    },
}
