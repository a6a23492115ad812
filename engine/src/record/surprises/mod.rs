//! What may happen to a program beyond the order of things, as it may on a busy machine.
//!
//! Waits end late or early, calls are interrupted or do a part of their work, sched_yield(2) returns at once. Which kinds
//! there are, and what allows them, is in [`crate::schedule::surprise`]; here is where they strike, and the notes on it
//! ([`strikes`]). The room stands on [`time`](super::time), and for stacks in words on [`deadlock`](super::deadlock).

pub(super) mod delays;
pub(super) mod in_calls;
pub(super) mod strikes;
pub(super) mod yields;
