//! Signals on their way to a task, and tasks stopped by one.
//!
//! Signals are kept back until replay can find the place, and interrupt waits. The room stands on
//! [`futex`](super::futex) and [`time`](super::time) for the waits.

pub(super) mod groups;
mod job_control;
pub(super) mod pending;
