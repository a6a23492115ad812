//! Waits for the running task's next stop, for tasks in the kernel, for the clock.
//!
//! Every wait also handles whatever else may come meanwhile. The room stands on [`ends`](super::ends).

mod delays;
mod fast_forward;
mod idle;
mod in_kernel;
mod reads;
mod running;
mod stalls;
