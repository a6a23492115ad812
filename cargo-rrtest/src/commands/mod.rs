//! What users type ([`cli`]), and a file for each command. A command brings the other rooms together, and does little itself.
//!
//! This room stands on all others.

mod background_build;
pub(crate) mod backtrace;
pub(crate) mod cli;
pub(crate) mod debug;
pub(crate) mod doctor;
mod events;
pub(crate) mod exec;
pub(crate) mod front_end;
mod given;
mod list;
pub(crate) mod merge;
pub(crate) mod options;
pub(crate) mod pack;
pub(crate) mod pin;
pub(crate) mod privacy;
mod prune;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod show;
mod single;
pub(crate) mod verify;
