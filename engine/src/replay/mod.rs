//! Drives a process from a trace alone.
//!
//! The process is built from the trace and then runs the recorded instructions. Its system calls stop at their entry
//! and get the recorded outcome; only those that shape its own memory and tasks reach the kernel. Every event is
//! checked.
//!
//! A [`Session`] is stepped through: to the next event, by ticks or instructions, to breakpoints and watchpoints. It
//! has three parts, each with an owner of its own: a [`Cursor`] in the trace, the [`State`] that follows from the
//! events so far, and what is alive (`live`). A step is given all three (`step`), and carries out an event at a time
//! (`apply`).

mod apply;
mod check;
mod cursor;
mod diverted;
mod files;
mod given;
mod image;
mod live;
mod lock_owners;
mod mapper;
mod place;
mod planted;
mod run;
mod session;
mod state;
mod step;
mod stops;
mod watched;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::Source;
use crate::trace::event::Stream;

pub use crate::tracee::Point;
pub use cursor::Cursor;
pub use diverted::{Came, Diverted};
pub use session::{Report, Session};
pub use state::State;
pub(crate) use step::{Control, needs_instructions};
pub use stops::{Limit, Why};

/// Gets the program's output as it comes.
pub type Sink<'a> = Box<dyn FnMut(Stream, &[u8]) + 'a>;

/// How to replay.
pub struct Options<'a> {
    /// The core to use.
    pub core: usize,
    /// Set to true to give up soon.
    pub stop: &'a AtomicBool,
    /// How long the process may run from one event to the next; past it the replay counts as diverged.
    pub patience: Duration,
    /// Words of the program's memory, at most four, that are 0 or say that somebody has locked something: who that
    /// is, is told at the end. A replay in which a moment within user code must be found cannot tell.
    pub watch: &'a [u64],
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
    /// Which task has locked which of the words that were watched, with its thread name.
    pub lock_owners: Vec<(u64, TaskId, String)>,
}

/// Replay a trace. Call it from a thread that the caller can spare: the thread is pinned to the core.
///
/// # Errors
/// [`Error::Diverged`] at the first event that differs from the recorded one; others as they come.
pub fn replay<'a>(trace: &'a dyn Source, options: Options<'a>) -> Result<Replayed, Error> {
    let words = options.watch;
    let mut session = Session::start(trace, options)?;
    let lock_owners = lock_owners::run(&mut session, words)?;
    match session.ended() {
        Some((ending, stats)) => Ok(Replayed { ending: ending.clone(), stats, lock_owners }),
        None => Err(check::misplaced(session.state().event(), "the end of the program", "nothing")),
    }
}
