//! Who waits for whom, and whether the waits can ever end.
//!
//! [`wakers`] determines whether anybody could still end the waits: only if certainly nobody can, it is a deadlock.
//! [`report`] says in words what each task was doing, what it waits for, and who has that. The room looks at the tasks,
//! their futexes and descriptors, and changes nothing.

mod objects;
pub(super) mod report;
mod waits;
pub(super) mod wakers;
