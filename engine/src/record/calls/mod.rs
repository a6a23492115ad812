//! What is particular to a call, and what is noted of it.
//!
//! The recorder makes some calls itself ([`emulate`], [`futex`]), some the kernel makes in replay as well: those that make and end
//! tasks and processes, or change memory. What a call has written becomes part of the log ([`outputs`]), and what it means for the
//! parts of the recording is noted ([`conclude`]). The room stands on [`wait`](super::wait).

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
