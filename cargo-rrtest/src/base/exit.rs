//! How the subcommand itself ends: exit codes, and errors that end it.

use std::any::Any;
use std::fmt::Display;
use std::io::ErrorKind;
use std::process::ExitCode;

use rrtest_engine::Error;

/// The exit codes that users and CI can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nothing failed.
    Success = 0,
    /// Wrong arguments.
    Usage = 2,
    /// A replay did something else than its recording.
    Diverged = 3,
    /// No test matched.
    NoTests = 4,
    /// Some tests had no attempt, as there was no time.
    NeverRan = 5,
    /// The recorder failed.
    Recorder = 70,
    /// A test failed, crashed, deadlocked or hung; or the build failed, as with `cargo test`.
    Failed = 101,
    /// Ctrl-C: 128 and the signal's number, as shells have it.
    Interrupted = 130,
    /// Nobody reads what we print any more (`| head`): what a shell says of a program that SIGPIPE ends.
    Unread = 141,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The exit code.
    pub(crate) status: Status,
    /// What to tell the user; none if it has been said already.
    pub(crate) message: Option<String>,
}

impl CliError {
    /// End with a message.
    pub(crate) fn new(status: Status, message: impl Display) -> Self {
        Self { status, message: Some(message.to_string()) }
    }

    /// End without a further message: cargo or rustc has said what is wrong.
    pub(crate) fn said(status: Status) -> Self {
        Self { status, message: None }
    }

    /// The arguments are wrong.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The operating system refused `what`.
    pub(crate) fn os(what: impl Display, error: &std::io::Error) -> Self {
        Self::new(Status::Recorder, format!("{what}: {error}"))
    }

    /// What is printed cannot be written. Where nobody reads it there is nothing to say, and nobody to hear it.
    pub(crate) fn unwritten(what: impl Display, error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::said(Status::Unread),
            _ => Self::os(what, error),
        }
    }
}

/// The error for a panic, which is a fault of ours. `place` says where it was.
pub(crate) fn panicked(place: &str, payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let why = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::Bug { what: format!("it panicked {place}: {why}") }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Stopped => Status::Interrupted,
            Error::Diverged(_) => Status::Diverged,
            _ => Status::Recorder,
        };
        Self::new(status, error)
    }
}
