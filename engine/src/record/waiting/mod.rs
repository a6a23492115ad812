//! Calls that have to wait, and who can go on.
//!
//! The kernel must not write into a program's memory while other tasks run. So a call that would wait for descriptors is
//! held at its entry and the recorder asks which are ready ([`poller`](super::poller)); where that is not possible it waits in the kernel
//! with its outputs redirected ([`inside`]). The room stands on [`calls`](super::calls) and [`time`](super::time).

mod blocking;
mod inside;
pub(super) mod whole;
