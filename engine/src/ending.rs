//! How a recording ended.

use serde::{Deserialize, Serialize};

use crate::task::TaskId;

/// How a recorded program ended. A replay ends the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it: its number, and the task that got it.
    Killed {
        /// Signal number.
        signal: i32,
        /// The task it was delivered to.
        task: TaskId,
        /// What the tasks were doing; the signalled one first.
        tasks: Vec<TaskState>,
    },
    /// No task can ever run again.
    Deadlocked(Vec<TaskState>),
    /// It ran past the time limit.
    Hung(Vec<TaskState>),
    /// It did what cannot be recorded faithfully.
    Unsupported {
        /// What: a system call by name, a flag, a feature.
        what: String,
        /// The task that did it.
        task: TaskId,
        /// That task's thread name.
        name: String,
    },
}

/// What one task was doing when the program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Which task.
    pub task: TaskId,
    /// Its thread name (at most 15 bytes, `prctl(2)` `PR_SET_NAME`).
    pub name: String,
    /// What it waits for or does, in words: `futex 0x… `, `read`, `running`.
    pub doing: String,
    /// Return addresses from the innermost frame outwards, as far as they could be found.
    pub frames: Vec<Frame>,
}

/// One stack frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Address of the instruction (for callers: of the return address).
    pub address: u64,
    /// The function's name, demangled, if known.
    pub function: Option<String>,
    /// Source file and line, if known.
    pub location: Option<(String, u32)>,
}

/// What a recording counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Ticks of all tasks: compiled-in ticks and traced system calls.
    pub ticks: u64,
    /// Times a task that could have gone on was made to wait for another.
    pub preemptions: u64,
    /// Traced system calls.
    pub syscalls: u64,
    /// Tasks that ever lived.
    pub tasks: u32,
}
