//! Tasks that compute without end, and programs that do not end.
//!
//! A task that makes no tick and no call is stopped in the middle of its code, at a place that replay can find again
//! ([`pin`]). A program is given up when it cannot end, or its time is over ([`overdue`]). The room stands on
//! [`tree`](super::tree) and [`crate::tracee`].

pub(super) mod pin;
mod snapshot;
