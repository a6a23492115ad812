//! What the kernel tells of a process: its memory and mappings, state, signals, limits, descriptors.
//!
//! Most of it is in `/proc`. Nothing here needs the process to be traced, or to stand still, and nothing stands below this room
//! but the kernel.

mod copies;
mod maps;
mod memory;
mod pages;
mod signals;
mod stack;
mod status;

pub use copies::Copies;
pub use maps::{Line, code_around, locked, maps};
pub use memory::Memory;
pub use pages::present;
pub use signals::{SignalSet, Signals, is_fault, signals};
pub use stack::{set_stack_limit, stack_limit};
pub use status::{State, being_killed, comm, cpu_time, descriptor_room, state, status_field};
