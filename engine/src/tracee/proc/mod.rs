//! What the kernel reports about a process: memory and mappings, state, signals, limits, descriptors.
//!
//! Most of it is in `/proc`. Nothing here requires that the process is traced or stopped. Below this room there is only
//! the kernel.

mod fd_copies;
mod maps;
mod memory;
mod pages;
mod signals;
mod stack;
mod status;

pub use fd_copies::FdCopies;
pub use maps::{Line, code_around, locked, maps};
pub use memory::Memory;
pub use pages::present;
pub use signals::{SignalSet, Signals, is_fault, signals};
pub use stack::{set_stack_limit, stack_limit};
pub use status::{State, being_killed, comm, cpu_time, descriptor_room, state, status_field};
