//! What is said of a run: to people ([`display`], [`progress`]), to programs ([`json`]) and to CI systems ([`junit`]). Each report reads the same
//! events, and decides for itself what to say.
//!
//! This room stands on [`attempt`](crate::attempt), which has the events, on [`ending`](crate::ending), which has the words, and on
//! [`discover`](crate::discover) and [`base`](crate::base).

pub(crate) mod display;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod progress;
#[cfg(test)]
mod snapshots;
mod summary;
mod tally;
