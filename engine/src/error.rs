//! The engine's errors, worded for users.

use crate::task::TaskId;

/// An error of the engine. What a recorded program does wrong is an [`Ending`](crate::ending::Ending) instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked the engine to stop.
    #[error("interrupted")]
    Stopped,
    /// The operating system refused something.
    #[error("{what}: {source}{}", remedy(source))]
    Os {
        /// What the engine tried, and on what.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The machine does not allow recording at all.
    #[error("{what}\n  {remedy}")]
    Forbidden {
        /// What is missing.
        what: String,
        /// How to allow it.
        remedy: String,
    },
    /// The program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A trace file is damaged, foreign or of another version.
    #[error(transparent)]
    Trace(#[from] crate::trace::TraceError),
    /// A replay differed from the recording.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// A thread of the program is gone, although the engine has not ended it: somebody has killed it.
    #[error("{what}: the thread is gone")]
    Gone {
        /// What the engine tried, and on which thread.
        what: String,
    },
    /// An assumption of the engine does not hold. Neither the program nor the system is to blame.
    #[error(
        "this is a fault of rrtest {}: {what}\n  please report it, with this message, the command, and the trace or the \
         seed",
        env!("CARGO_PKG_VERSION")
    )]
    Bug {
        /// What is wrong.
        what: String,
    },
}

/// Returns advice on an error of the operating system, if there is any.
fn remedy(source: &std::io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EFBIG) => {
            "\n  the limit on the size of files (`ulimit -f`) is too low for the recorder: the memory that it shares with a \
             program, some 130 MiB, counts as a file"
        }
        _ => "",
    }
}

/// The first difference between a replay and its recording.
#[derive(Debug, thiserror::Error)]
#[error(
    "the replay diverged at event {event} ({task}, thread `{name}`)\n  expected: {expected}\n  found:    {found}"
)]
pub struct Divergence {
    /// The event's number, counted from 0.
    pub event: u64,
    /// The task that ran.
    pub task: TaskId,
    /// Its thread name.
    pub name: String,
    /// What the trace says.
    pub expected: String,
    /// What happened.
    pub found: String,
}
