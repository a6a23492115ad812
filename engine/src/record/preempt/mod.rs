//! Stops tasks that compute without end.
//!
//! A task that makes no tick and no call is stopped in the middle of its code, at a place that replay can find again
//! ([`async_stop`]). The room stands on [`hand_over`](super::hand_over) and [`wait`](super::wait).

pub(super) mod async_stop;
mod snapshot;
