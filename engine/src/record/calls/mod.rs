//! Particular calls: how they are made, and what the recorder notes about them.
//!
//! The recorder makes some calls itself ([`emulate`], [`futex`]). The kernel makes others in replay as well: those that
//! create and end tasks and processes, or change memory. What a call has written goes into the log ([`outputs`]), and
//! what it means for the parts of the recording is noted ([`conclude`]). The room stands on [`wait`](super::wait).

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
