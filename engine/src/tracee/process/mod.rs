//! Driven processes: starts, forks and rebuilds them, pins them to a core, and ends them.
//!
//! A new process gets a filter that makes its calls stop, and the shared area; only then it can be driven. The room
//! stands on [`inject`](super::inject), and so on the area and on ptrace.

mod branch;
mod cores;
mod descriptors;
mod filter;
mod fork;
mod launch;
mod leash;
mod rebuild;
mod settle;

pub use branch::branch;
pub use cores::{core_count, pin, unpin};
pub use descriptors::raise_descriptor_limit;
pub use fork::{Stdin, Streams};
pub use launch::{Launched, launch};
pub use leash::{Leash, bury};
pub use rebuild::{another, rebuild};
pub use settle::{Settled, settle};
