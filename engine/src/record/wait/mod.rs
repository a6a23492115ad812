//! Waiting: for the running task's next stop, for those in the kernel, for the clock.
//!
//! Whoever waits looks at all that could come meanwhile. The room stands on [`ends`](super::ends).

mod delays;
mod idle;
mod in_kernel;
mod leap;
mod running;
mod stalls;
