//! The results of a step of the recorder's loop, in whichever room it is made.

use crate::ending::Ending;
use crate::error::Error;
use crate::schedule::{Operation, Why};

/// Why the loop leaves the current step.
pub(super) enum Halt {
    Ending(Ending),
    Error(Error),
    /// The running task is gone; the others go on.
    Gone,
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The result of a step of the loop.
pub(super) type Flow<T> = Result<T, Halt>;

/// What follows a step of a task.
pub(super) enum Next {
    /// The task can go on; it stands where replay can find it.
    Continue,
    /// The task must go on: it stands where replay cannot find it.
    Stay,
    /// The strategy is to be asked.
    Decide(Why, Option<Operation>),
}

/// Returns the error for an assumption of the recorder that does not hold.
pub(super) fn bug(what: impl Into<String>) -> Halt {
    Halt::Error(Error::Bug { what: what.into() })
}
