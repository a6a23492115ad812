//! A traced task, stopped or running, and its registers.
//!
//! What can be done with a task depends on which of the two it is, which its type says. The room stands on ptrace(2)
//! and waitpid(2) alone; it knows nothing about recording or replay.

mod debug_registers;
mod registers;
mod task;
mod to_exit;
mod vectors;
mod wake_up_timer;

pub use debug_registers::{DebugRegisters, Point, debug_status};
pub use registers::Registers;
pub use task::{
    Death, Resume, Running, Stop, Stopped, WaitStatus, Waited, interrupt, reap, wait_any, wait_in_group,
};
pub use to_exit::to_exit;
pub use vectors::{FrameState, StateLayout, VectorRegisters, Vectors};
pub use wake_up_timer::WakeUpTimer;

/// The type that the C library gives a request of ptrace(2).
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;
