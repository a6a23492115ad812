//! Drives a process from a trace alone.

use std::sync::atomic::AtomicBool;

use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::trace::Source;
use crate::trace::event::Stream;

/// How to replay.
pub struct Options<'a> {
    /// The core to use.
    pub core: usize,
    /// Set to true to give up soon.
    pub stop: &'a AtomicBool,
    /// Gets the program's output as it comes.
    pub output: &'a mut dyn FnMut(Stream, &[u8]),
}

/// A faithful replay.
#[derive(Debug)]
pub struct Replayed {
    /// How the program ended.
    pub ending: Ending,
    /// What was counted.
    pub stats: Stats,
}

/// Replay a trace.
///
/// # Errors
/// [`Error::Diverged`] at the first event that differs from the recorded one; others as they come.
pub fn replay(_trace: &dyn Source, _options: Options<'_>) -> Result<Replayed, Error> {
    Err(Error::NotYet)
}
