//! The kept traces: a directory for each project, a file for each failure, and which of them a name means ([`traces`]); how
//! many there may be ([`limit`]); what is attached to each ([`attached`]); and traces that come from elsewhere ([`source`]), in zip files ([`archive`]) and from runs
//! of GitHub Actions ([`artifact`]).
//!
//! This room stands on [`build`](crate::build), which knows the target directory of a project, and on
//! [`base`](crate::base).

mod archive;
mod artifact;
pub(crate) mod attached;
pub(crate) mod limit;
pub(crate) mod source;
pub(crate) mod traces;
