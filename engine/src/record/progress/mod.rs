//! How long tasks, and the program, have made no progress.
//!
//! A task that computes for long without a tick is to be pinned ([`pins`]); one that only asks for the time has to
//! yield ([`quiet`]); a program that takes much longer than usual is stuck ([`overdue`]). Here is the state, and how it
//! is judged; [`preempt`](super::preempt) and [`ends`](super::ends) act on it.

pub(super) mod overdue;
pub(super) mod pace;
pub(super) mod pins;
pub(super) mod quiet;

use super::options::Options;
use overdue::Trial;
use pace::Pace;
use pins::Pins;
use quiet::Quiet;

/// How long tasks, and the program, have made no progress.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pins: Pins,
    pub(super) quiet: Quiet,
    pub(super) trial: Trial,
    pub(super) pace: Pace,
}

impl Progress {
    /// Starts with a program that has just begun.
    pub(super) fn new(options: &Options<'_>) -> Self {
        Self {
            pins: Pins::default(),
            quiet: Quiet::default(),
            trial: Trial::new(options),
            pace: Pace::default(),
        }
    }
}
