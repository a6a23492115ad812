//! Drives a program and records it.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::program::Program;
use crate::schedule::Plan;
use crate::trace::event::Stream;
use crate::trace::log::Log;

/// How to record.
#[derive(Debug)]
pub struct Options<'a> {
    /// How the schedule is made.
    pub plan: Plan,
    /// The core that the program and its recorder share.
    pub core: usize,
    /// How many cores the program is told there are (`sched_getaffinity(2)`).
    pub pretend_cores: usize,
    /// The program counts as hung when it runs longer.
    pub timeout: Duration,
    /// The first task is a test harness, which waits for the others with a time limit only to print warnings: such a
    /// wait does not count when asking whether anything can still happen.
    pub watchdog_main: bool,
    /// Set to true (by a signal handler, another thread) to give up soon.
    pub stop: &'a AtomicBool,
}

/// A recording, in memory.
#[derive(Debug)]
pub struct Recording {
    /// How the program ended.
    pub ending: Ending,
    /// What it wrote to standard output and error, in order.
    pub output: Vec<(Stream, Vec<u8>)>,
    /// What was counted.
    pub stats: Stats,
    /// From just before the start to the end.
    pub wall: Duration,
    /// The events and files.
    pub log: Log,
}

/// Record one run of a program. Call it from a thread that the caller can spare: the thread is pinned to the core.
///
/// # Errors
/// [`Error::Stopped`] if told to give up; else what kept the recorder from working: never what the program did.
pub fn record(_program: &Program, _options: &Options<'_>) -> Result<Recording, Error> {
    Err(Error::NotYet)
}
