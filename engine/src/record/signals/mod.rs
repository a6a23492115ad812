//! Signals: delivered where replay can find the place, kept back until then.
//!
//! They also stop processes and let them go on, and go to groups to which the recorder belongs as well. The room stands on
//! [`tree`](super::tree), and on [`futex`](super::futex) and [`time`](super::time) for the waits that a signal interrupts.

pub(super) mod groups;
mod job_control;
pub(super) mod pending;
