//! Calls that have to wait before they can be made.
//!
//! The kernel must not write into a program's memory while other tasks run. So a call that would wait for descriptors
//! is held at its entry while the recorder polls them ([`poller`](super::poller)). Where that is not possible, it waits
//! in the kernel with its outputs redirected ([`in_kernel`]). The room stands on [`deliver`](super::deliver), since a
//! signal may come meanwhile, and on [`calls`](super::calls).

mod blocking;
mod in_kernel;
pub(super) mod wait_all;
mod watches;
