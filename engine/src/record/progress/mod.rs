//! How long tasks, and the program, have gone on without getting anywhere.
//!
//! A task that computes for long without a tick is to be pinned ([`pins`]), one that only asks for the time gives way
//! ([`quiet`]); a program that takes much longer than usual has got stuck ([`overdue`]). Here is what is known and how it is
//! judged; what follows is done in [`preempt`](super::preempt) and [`ends`](super::ends).

pub(super) mod overdue;
pub(super) mod pace;
pub(super) mod pins;
pub(super) mod quiet;

use super::options::Options;
use overdue::Trial;
use pace::Pace;
use pins::Pins;
use quiet::Quiet;

/// How long tasks, and the program, have gone on without getting anywhere.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pins: Pins,
    pub(super) quiet: Quiet,
    pub(super) trial: Trial,
    pub(super) pace: Pace,
}

impl Progress {
    /// The program begins.
    pub(super) fn new(options: &Options<'_>) -> Self {
        Self {
            pins: Pins::default(),
            quiet: Quiet::default(),
            trial: Trial::new(options),
            pace: Pace::default(),
        }
    }
}
