//! Finds out by experiment what a failure needs: the smallest schedule that fails in the same way ([`minimise`]), and
//! for each preemption in it between which operations it must fall, and how far the other task must get meanwhile
//! ([`window`]). [`race`] says whether a preemption shows a data race.
//!
//! Pure: whoever explains a failure has a [`Lab`], which runs a script and says whether it fails in the same way. The
//! room stands on [`schedule`](crate::schedule) and [`mark`](crate::mark).

pub mod minimise;
pub mod near;
pub mod race;
#[cfg(test)]
mod testing;
pub mod window;

use crate::schedule::script::{Noted, Script};

/// Runs schedules.
pub trait Lab {
    /// Runs a script. `None` if there is no time for it, or if it cannot be run: then nothing more is tried.
    fn run(&mut self, script: &Script) -> Option<Tried>;

    /// Whether a script fails in the same way; false as well if it cannot be run any more.
    fn fails(&mut self, script: &Script) -> bool {
        self.run(script).is_some_and(|tried| tried.same)
    }
}

/// What came of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Whether the program failed in the same way.
    pub same: bool,
    /// The schedule that came about.
    pub noted: Noted,
}
