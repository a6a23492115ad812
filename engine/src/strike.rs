//! What surprises in time have done to a program, and where.
//!
//! Most other surprises are left out: for them the program's own assertion says enough.

use std::fmt;

use crate::ending::Frame;
use crate::schedule::surprise::Surprise;
use crate::task::TaskId;

/// A surprise that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Its kind.
    pub kind: Surprise,
    /// The thread that it struck.
    pub thread: Thread,
    /// What the thread was doing.
    pub doing: Doing,
    /// How long the thread meant to wait, in ns; 0 if it did not wait for a time.
    pub asked: u64,
    /// By how much something was prolonged, in ns.
    pub more: u64,
    /// How often something happened during the surprise.
    pub times: u64,
    /// What the program was shown, in words: a date, a zone.
    pub shown: String,
    /// Threads that could have run but did not.
    pub others: Vec<Thread>,
    /// Where the thread was: return addresses, innermost frame first.
    pub frames: Vec<Frame>,
}

/// A thread of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Which task it is.
    pub task: TaskId,
    /// Its name. Until it has run, this is its creator's name.
    pub name: String,
    /// Whether others have the same name.
    pub ambiguous: bool,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)?;
        if self.ambiguous { write!(f, " ({})", self.task) } else { Ok(()) }
    }
}

/// What a thread did when a surprise struck it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Sleeping.
    Sleeps,
    /// Waiting with a time limit.
    Waits,
    /// Yielding.
    GivesWay,
    /// Anything else.
    Runs,
}
