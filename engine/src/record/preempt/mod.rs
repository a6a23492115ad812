//! Tasks that compute without end, and programs that do not end.
//!
//! A task that makes no tick and no call is stopped in the middle of its code, at a place that replay can find again
//! ([`pin`]). A program is given up when it cannot end, or its time is over ([`overdue`]). The room stands on
//! [`tree`](super::tree) and [`crate::tracee`].

mod limits;
pub(super) mod overdue;
pub(super) mod pin;
pub(super) mod quiet;
mod snapshot;

use super::deadlock::stuck::Pace;
use super::options::Options;
use overdue::Trial;
use pin::Pins;
use quiet::Quiet;

/// How long tasks, and the program, have gone on without getting anywhere.
#[derive(Debug)]
pub(super) struct Preemption {
    pub(super) pins: Pins,
    pub(super) quiet: Quiet,
    pub(super) trial: Trial,
    pub(super) pace: Pace,
}

impl Preemption {
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
