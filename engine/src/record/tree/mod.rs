//! The tree of processes: the tasks, the address spaces that they share, and the call that each makes.
//!
//! [`tasks`] says what holds each task, and so who could have the core. The other files are how tasks come and go, and what
//! a process is told of itself and its cores. The room stands on [`kernel`](super::kernel) and [`start`](super::start).

mod affinity;
pub(super) mod call;
pub(super) mod natively;
mod processes;
pub(super) mod slots;
pub(super) mod spawned;
mod task_calls;
pub(super) mod tasks;
