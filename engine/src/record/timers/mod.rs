//! Timers: those that send signals, and those that are descriptors.
//!
//! In real time the kernel runs them. In virtual time it cannot, for it does not know that time has leapt: the recorder sends the
//! signals, and brings the descriptors forward. The room stands on [`signals`](super::signals) and [`time`](super::time).

pub(super) mod own;
mod timerfds;
