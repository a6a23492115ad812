//! The engine's errors, worded for users.

use crate::task::TaskId;

/// An error of the engine. What a recorded program does wrong is an [`Ending`](crate::ending::Ending) instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked the engine to stop.
    #[error("interrupted")]
    Stopped,
    /// The operating system refused something.
    #[error("cannot {what}: {source}{}", remedy(source))]
    Os {
        /// What was tried, on what: `read registers of thread 7`.
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
            "\n  raise the limit on the size of files (`ulimit -f`): the memory that the recorder shares with a program, some \
             130 MiB, counts as a file"
        }
        _ => "",
    }
}

/// The first difference between a replay and its recording.
#[derive(Debug, thiserror::Error)]
#[error("the replay diverged at event {event}{}\n  expected: {expected}\n  found:    {found}", whose(*task, name))]
pub struct Divergence {
    /// The event's number, counted from 0.
    pub event: u64,
    /// The task that ran.
    pub task: TaskId,
    /// Its thread name; empty if the difference is no task's.
    pub name: String,
    /// What the trace says.
    pub expected: String,
    /// What happened.
    pub found: String,
}

fn whose(task: TaskId, name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" ({task}, thread `{name}`)") }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::trace::TraceError;

    /// What a person reads of each kind.
    #[test]
    fn in_words() {
        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let path = || "/traces/x.rrtrace".into();
        let os = |errno| Error::Os {
            what: "size shared memory".into(),
            source: io::Error::from_raw_os_error(errno),
        };
        let divergence = Divergence {
            event: 63,
            task: TaskId(2),
            name: "worker".into(),
            expected: "close(0x4)".into(),
            found: "close(0xffffffff)".into(),
        };
        let of_no_task = Divergence {
            event: 1,
            task: TaskId(0),
            name: String::new(),
            expected: "the end of the program".into(),
            found: "nothing".into(),
        };
        let errors = [
            Error::Stopped,
            os(libc::ENOMEM),
            os(libc::EFBIG),
            Error::Forbidden {
                what: "tracing is not allowed here".into(),
                remedy: "allow it with `docker run --cap-add=SYS_PTRACE`".into(),
            },
            Error::Start { program: "/bin/nothing".into(), source: refused() },
            Error::Diverged(Box::new(divergence)),
            Error::Diverged(Box::new(of_no_task)),
            TraceError::Read { path: path(), source: refused() }.into(),
            TraceError::NotATrace { path: path(), why: "it is empty" }.into(),
            TraceError::Truncated { path: path(), len: 100, expected: 4096 }.into(),
            TraceError::Damaged { path: path(), what: "block 7 has a wrong checksum".into() }.into(),
            TraceError::Newer { path: path(), format: 9999, tool: "9.9.9".into() }.into(),
            TraceError::Older { path: path(), format: 1, tool: "0.0.1".into() }.into(),
            TraceError::Machine { path: path(), machine: 183 }.into(),
            TraceError::Modified("/lib/libc.so.6".into()).into(),
            TraceError::Mapped { path: "/lib/libc.so.6".into(), source: refused() }.into(),
            TraceError::Spill { directory: "/tmp".into(), source: Arc::new(full()) }.into(),
            TraceError::Unwritable("a string is too long".into()).into(),
            TraceError::Write { directory: "/traces".into(), written: 4096, source: full() }.into(),
        ];
        let texts = errors.map(|error| format!("error: {error}\n"));
        insta::with_settings!({ filters => vec![(r"reads (formats?) \d+", "reads $1 [ours]")] }, {
            insta::assert_snapshot!(texts.concat());
        });
    }
}
