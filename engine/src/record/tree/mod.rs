//! The tree of processes: the tasks, the address spaces that they share, and the call that each makes.
//!
//! [`tasks`] says what holds each task, and so which could have the core; [`children`] has what the kernel tells of them. The other
//! files have what a task is told of itself and its cores, and where it was made. The room stands on [`kernel`](super::kernel).

mod affinity;
pub(super) mod call;
pub(super) mod children;
pub(super) mod in_kernel;
pub(super) mod natively;
mod returns;
pub(super) mod shown;
pub(super) mod slots;
pub(super) mod spawned;
pub(super) mod tasks;
