//! Tasks that compute without a tick or a call that concerns others, and programs that do not end.
//!
//! The first are stopped in the middle of their code, at a place that replay can find again ([`pin`]); the second are given
//! up when that is certain, or time is over ([`overdue`]). The room stands on [`tree`](super::tree) and [`crate::tracee`].

mod limits;
pub(super) mod overdue;
pub(super) mod pin;
pub(super) mod quiet;
mod snapshot;
