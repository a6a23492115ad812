//! The events, by what they are about: how each is met by a task, checked, and applied.
//!
//! Each file adds to [`Step`](super::step::Step) what it takes to carry out its events.

pub(super) mod async_stop;
mod buffer;
mod call;
mod exec;
mod memory;
mod signal;
mod switch;
mod task;
