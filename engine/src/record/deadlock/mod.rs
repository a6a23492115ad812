//! Who waits for whom, and whether that can ever end.
//!
//! [`wakers`] knows whether anybody is left who could end the waits: only where that is certainly nobody, it is a deadlock.
//! [`report`] says in words what each task was doing, what it waits for, and who has it. The room looks at the tasks, their futexes
//! and descriptors, and changes nothing.

mod objects;
pub(super) mod report;
mod waits;
pub(super) mod wakers;
