//! Safe ptrace: what can be done with a traced task depends on whether it is stopped, which its type says.
//!
//! A task is [`Stopped`] or [`Running`]. Only a stopped task has readable registers; resuming consumes it. A task that
//! dies unexpectedly is a value ([`WaitStatus::Dead`]), no surprise. The style is that of reverie's `safeptrace`.
//!
//! The rooms, each of which stands only on those below it:
//!
//! ```text
//! code       decodes the program's instructions, and replaces some
//! process    starts, copies, rebuilds and ends processes
//! inject     system calls that a process makes for the recorder
//! area       the memory shared with the processes
//! ptrace     a task, stopped or running
//! proc       what the kernel reports about a process
//! ```

mod area;
mod code;
mod inject;
mod proc;
mod process;
mod ptrace;
mod system;

pub use area::{
    Area, BufferedCall, LONGEST_NAME, Member, SYSCALL_LEN, Saved, buffered_calls, memory_file, stand_in,
};
pub use code::{
    Breakpoint, Condition, FileState, Moved, Operations, Originals, Placement, Replaced, Site, Tick,
    TickSites, at_operation, end_of_string, exchanged, find_reads_of_libraries, patch, plan_read, plan_tick,
    read_sites, tick_sites, value_of, writes,
};
pub use inject::{Arg, Batch, ignore_again, remote, unmap_around_area, with_signals_blocked};
pub use proc::{
    Belonging, Fd, FdCopies, FdInfo, FileLock, InetSocket, Line, LockKind, LockedFile, Memory, MessageQueue,
    Place, SemaphoreSet, SignalSet, Signals, State, Timer, being_killed, belonging, call_in_progress,
    code_around, comm, cpu_time, descriptor_room, fds, file_at, file_locks, inet_sockets, is_asleep,
    is_fault, locked, maps, message_queue, mounted_device, named_fds, packets_are_delivered, personality,
    present, processes, processor_groups, semaphore_set, set_stack_limit, shares_ipc, signals, socket_inode,
    stack_limit, state, status_field,
};
pub use process::{
    Executed, KillOnDrop, Launched, Stdin, Streams, another, bind_to_core, branch, core_count, launch,
    raise_descriptor_limit, reap_orphan, rebuild, set_up, starting, unbind, wait_for_starts,
};
pub use ptrace::{
    Death, DebugRegisters, FrameState, Point, Registers, Resume, Running, StateLayout, Stop, Stopped,
    VectorRegisters, Vectors, WaitStatus, Waited, WakeUpTimer, debug_status, interrupt, reap, to_exit,
    wait_any, wait_in_group,
};
pub use system::{PAGE, TASK_SIZE, THREAD_NAME};
pub(crate) use system::{last_os, on_task, os};
