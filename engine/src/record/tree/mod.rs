//! The process tree: tasks, the address spaces that they share, and the call that each makes.
//!
//! A [`task`] is held by something; [`tasks`] has all of them, and knows by that which are runnable. [`children`] has
//! the kernel's unhandled reports on them. The other files have what a task is told about itself and its cores, and
//! where it was created. The room stands on [`kernel`](super::kernel).

mod affinity;
pub(super) mod call;
pub(super) mod children;
pub(super) mod descriptor_watch;
pub(super) mod in_kernel;
pub(super) mod natively;
mod returns;
pub(super) mod shown;
pub(super) mod slots;
pub(super) mod spawned;
pub(super) mod task;
pub(super) mod tasks;
