//! Who waits for whom, and whether that can ever end.
//!
//! [`stuck`] decides whether anybody is left who could end the waits in the kernel: only where that is certainly nobody, it
//! is a deadlock. The other files say in words what each task was doing, what it waits for, and who has it. The room stands
//! on [`tree`](super::tree) and [`kernel`](super::kernel).

mod objects;
pub(super) mod report;
mod waits;
pub(super) mod wakers;
