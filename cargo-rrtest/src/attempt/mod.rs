//! One attempt at a test: its [`seed`] decides how it is scheduled, and the [`order`] of tests together; [`record`]
//! makes it, if possible from a copy of a process that has started up ([`fork_servers`]); [`judge`] keeps its trace if
//! that is worth it, to which files for debuggers are then attached ([`attach`]). [`events`] are what a run tells of its attempts, and of its [`pins`].
//!
//! This room stands on [`ending`](crate::ending), [`store`](crate::store), [`build`](crate::build), which has the
//! preemption levels, [`discover`](crate::discover) and [`base`](crate::base).

pub(crate) mod attach;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod fork_servers;
pub(crate) mod judge;
pub(crate) mod needy;
pub(crate) mod order;
pub(crate) mod pins;
pub(crate) mod record;
pub(crate) mod seed;
pub(crate) mod start;
