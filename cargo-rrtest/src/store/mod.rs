//! The kept traces: a directory for each project, a file for each failure, and which of them a name means ([`traces`]); how many there may be
//! ([`limit`]).
//!
//! This room stands on [`build`](crate::build), which knows the target directory of a project, and on [`base`](crate::base).

pub(crate) mod limit;
pub(crate) mod traces;
