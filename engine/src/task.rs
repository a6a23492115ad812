//! The name of a task.

use serde::{Deserialize, Serialize};

/// A task (a thread, in the kernel's sense) of a recorded process tree, numbered in order of creation; 0 is the first.
///
/// Thread ids differ from replay to replay; this number does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u32);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {}", self.0)
    }
}
