//! Task numbers.

use serde::{Deserialize, Serialize};

/// A task (what the kernel calls a thread) of a recorded process tree. Tasks are numbered in order of creation, from 0.
///
/// Thread ids differ from replay to replay; this number does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TaskId(pub u32);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {}", self.0)
    }
}
