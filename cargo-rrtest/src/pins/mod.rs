//! Pins: failing schedules as small text files that are committed beside the tests, so that each run tries them first.
//!
//! A [`file`] has one schedule, the places of its preemptions, and what came of it; [`find`] reads those of the tests that
//! are to run.
//!
//! This room stands on [`attempt`](crate::attempt), which has the seeds, [`ending`](crate::ending), which has the places,
//! [`discover`](crate::discover), [`build`](crate::build) and [`base`](crate::base).

pub(crate) mod file;
pub(crate) mod find;
