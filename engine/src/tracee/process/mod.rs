//! Driven processes: starts, forks and rebuilds them, pins them to a core, and ends them.
//!
//! A new process gets a filter that makes its calls stop, and the shared area; only then it can be driven. The room
//! stands on [`inject`](super::inject), and so on the area and on ptrace.

mod branch;
mod cores;
mod descriptors;
mod filter;
mod fork;
mod kill_on_drop;
mod launch;
mod rebuild;
mod set_up;
mod starting;

pub use branch::branch;
pub use cores::{bind_to_core, core_count, unbind};
pub use descriptors::raise_descriptor_limit;
pub use fork::{Stdin, Streams};
pub use kill_on_drop::{KillOnDrop, reap_orphan};
pub use launch::{Launched, launch};
pub use rebuild::{another, rebuild};
pub use set_up::{Executed, set_up};
pub use starting::{starting, wait_for_starts};
