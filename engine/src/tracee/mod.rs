//! Safe ptrace: what can be asked of a traced task depends on whether it is stopped, and that is in the types.
//!
//! A task is [`Stopped`] or [`Running`]. Registers can be read only of a stopped one; resuming consumes it. A task that
//! dies under us is a value ([`Wait::Dead`]), not a surprise. The style is that of reverie's `safeptrace`.
//!
//! The rooms, each standing only on those below it:
//!
//! ```text
//! code       what the program's instructions do, and putting ours in their place
//! process    starting, copying, rebuilding and ending processes
//! inject     system calls that a process makes on our behalf
//! area       the memory shared with the processes
//! ptrace     a task, stopped or running
//! proc       what the kernel tells of a process
//! ```

mod area;
mod code;
mod inject;
mod proc;
mod process;
mod ptrace;
mod system;

pub use area::{Area, BufferedCall, Member, SYSCALL_LEN, Saved, buffered_calls, memory_file};
pub use code::{
    Breakpoint, Condition, Placement, ReadSite, end_of_string, exchanged, patch, read_sites, reads,
};
pub use inject::{Arg, Batch, ignore_again, remote, unmap_around_area};
pub use proc::{
    Copies, Line, Memory, SignalSet, Signals, State, being_killed, code_around, comm, cpu_time,
    descriptor_room, is_fault, locked, maps, present, set_stack_limit, signals, stack_limit, state,
    status_field,
};
pub use process::{
    Launched, Leash, Settled, Stdin, Streams, another, branch, bury, core_count, launch, pin,
    raise_descriptor_limit, rebuild, settle, unpin,
};
pub use ptrace::{
    Death, Heartbeat, Registers, Resume, Running, Stop, Stopped, Vectors, Wait, Waited, to_exit, wait_any,
};
pub use system::{PAGE, TASK_SIZE, THREAD_NAME};
pub(crate) use system::{last_os, os};
