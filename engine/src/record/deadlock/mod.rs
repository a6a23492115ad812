//! Who waits for whom, and whether any of it can ever end.
//!
//! [`stuck`] decides whether nobody is left who could end the waits in the kernel; the other files say in words what a task
//! waits for, who has it, and what each was doing. What is not certain is no deadlock. The room stands on
//! [`tree`](super::tree) and [`kernel`](super::kernel).

pub(super) mod locks;
mod objects;
pub(super) mod report;
pub(super) mod stuck;
mod waits;
