//! The program's clocks, and whatever else tells it the time.
//!
//! In virtual time the clocks leap ahead when every task only waits for a time to come ([`leap`]). The kernel does not know
//! of that, so what it tells of times is translated: those of files, of queues, in `/proc`, in the results of calls. The
//! room stands on [`deadlock`](super::deadlock), which knows whether only the program is waited for, and on
//! [`tree`](super::tree).

pub(super) mod abroad;
pub(super) mod clocks;
pub(super) mod files;
pub(super) mod ipc;
pub(super) mod leap;
mod past;
pub(super) mod proc;
mod told;
