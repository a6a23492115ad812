//! Serves gdb: its remote protocol over a [`Timeline`](crate::timeline::Timeline).
//!
//! The protocol is that of [`gdbstub`] (the GDB manual, appendix E, "The GDB Remote Serial Protocol"). Each file is one
//! part of it; [`state`] has what a debugger remembers meanwhile. What gdb shows comes from the trace alone: memory and
//! registers from its replay, programs and libraries from the files that it carries. The room stands on
//! [`timeline`](crate::timeline) and [`history`](crate::history).

mod around;
mod breakpoints;
mod calls;
mod debugger;
mod files;
mod monitor;
mod packets;
mod resume;
mod server;
mod signals;
mod state;
mod threads;

pub use debugger::Debugger;
pub use server::{Ended, Stream, serve};
