//! The memory shared with the driven processes, and what the two sides tell each other there.
//!
//! [`shared`] maps it. Each of the other files is this side of one part: the system-call buffer, the slots of parked
//! tasks, the objects on the access watch, the list of calls to make. The other side of each is in `rrtest_preload`.
//! The room stands on [`ptrace`](super::ptrace).

mod buffer;
mod counter;
pub(super) mod list;
mod memory_file;
mod objects;
mod parked;
pub(super) mod shared;

pub use buffer::{BufferedCall, SYSCALL_LEN, buffered_calls};
pub use memory_file::{LONGEST_NAME, memory_file, stand_in};
pub use parked::Member;
pub use shared::{Area, Saved};
