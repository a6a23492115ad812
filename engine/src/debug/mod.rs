//! Serves gdb: its remote protocol over a [`Timeline`](crate::timeline::Timeline).
//!
//! The protocol is that of [`gdbstub`]; each of the files is one part of it (the GDB manual, appendix E, "The GDB Remote
//! Serial Protocol"). What gdb shows comes from the trace alone: memory and registers from its replay, programs and
//! libraries from the files that it carries. The room stands on [`timeline`](crate::timeline) and
//! [`history`](crate::history).

mod around;
mod breakpoints;
mod calls;
mod debugger;
mod files;
mod monitor;
mod packets;
mod registers;
mod resume;
mod server;
mod signals;
mod threads;

pub use debugger::Debugger;
pub use server::{Ended, Stream, serve};
