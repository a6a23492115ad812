//! What surprises have done to a program's time, and where.
//!
//! Only of those that have to do with time: of the others the program's own assertion says enough.

use std::fmt;

use crate::ending::Frame;
use crate::schedule::surprise::Surprise;
use crate::task::TaskId;

/// A surprise that has struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Its kind.
    pub kind: Surprise,
    /// The thread that it struck.
    pub thread: Thread,
    /// What that thread did.
    pub doing: Doing,
    /// How long the wait was to last in ns: 0 where it did not wait for a time.
    pub asked: u64,
    /// By how much longer something lasted than it would have, in ns.
    pub more: u64,
    /// How often something happened meanwhile.
    pub times: u64,
    /// The threads that could have run, and did not.
    pub others: Vec<Thread>,
    /// Where the thread was: return addresses from the innermost frame outwards.
    pub frames: Vec<Frame>,
}

/// A thread of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Which task it is.
    pub task: TaskId,
    /// Its name, which is that of its maker until it has run.
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
    /// It slept.
    Sleeps,
    /// It waited for something, with a time limit.
    Waits,
    /// It gave way to others.
    GivesWay,
    /// Something else.
    Runs,
}
