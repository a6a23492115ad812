//! Injected system calls, which a driven process makes for the recorder: one, a list, or one that leaves the task in
//! place.
//!
//! The code that makes them is in the shared area, so the room stands on [`area`](super::area), and on
//! [`ptrace`](super::ptrace) to run it.

pub(super) mod apart;
mod batch;
pub(super) mod pass_descriptor;
pub(super) mod remote;

pub use apart::ignore_again;
pub use batch::{Arg, Batch};
pub use remote::{remote, unmap_around_area, with_signals_blocked};
