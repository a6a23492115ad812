//! A system call, from its entry to the log.
//!
//! [`dispatch`] goes by the table ([`crate::syscalls`]): the kernel makes the call, or the recorder does, and what it has
//! written becomes part of the log. Calls that make and end tasks and processes, that change memory or mapped files, and
//! that come in parts have files of their own. The room stands on [`in_process`](super::in_process), [`time`](super::time)
//! and [`tree`](super::tree).

mod conclude;
mod emulate;
mod file_changes;
mod futex;
mod groups;
mod memory;
pub(super) mod outputs;
mod processes;
mod reads;
mod shown;
mod tasks;
