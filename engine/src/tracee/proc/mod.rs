//! What the kernel reports about a process: memory and mappings, state, signals, limits, descriptors, and what it
//! shares with others.
//!
//! Most of it is in `/proc`, which nothing above this room reads by itself: one file here for each kind of thing.
//! Nothing requires that the process is traced or stopped. Below this room there is only the kernel.

mod belonging;
mod call;
mod control_groups;
mod descriptors;
mod maps;
mod memory;
mod namespaces;
mod pages;
mod places;
mod signals;
mod stack;
mod status;

pub use belonging::{Belonging, belonging};
pub use call::call_in_progress;
pub use control_groups::processor_groups;
pub use descriptors::{
    Fd, FdCopies, FdInfo, FileLock, LockKind, LockedFile, Timer, fds, file_locks, mounted_device, named_fds,
    socket_inode,
};
pub use maps::{Line, code_around, locked, maps};
pub use memory::Memory;
pub use namespaces::{
    InetSocket, MessageQueue, SemaphoreSet, inet_sockets, message_queue, packets_are_delivered,
    semaphore_set, shares_ipc,
};
pub use pages::present;
pub use places::{Place, file_at};
pub use signals::{SignalSet, Signals, is_fault, signals};
pub use stack::{set_stack_limit, stack_limit};
pub use status::{
    State, being_killed, comm, cpu_time, descriptor_room, is_asleep, personality, processes, state,
    status_field,
};
