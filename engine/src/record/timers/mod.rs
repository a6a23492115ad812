//! Timers that send signals, and timers that are descriptors.
//!
//! In real time the kernel runs them. In virtual time it cannot, as it does not know that time was fast-forwarded: the
//! recorder sends the signals, and brings the descriptors forward. The room stands on [`signals`](super::signals) and
//! [`time`](super::time).

pub(super) mod own;
mod timerfds;
