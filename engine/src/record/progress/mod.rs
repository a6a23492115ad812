//! How long tasks, and the program, have made no progress.
//!
//! A task that computes for long without a tick is stopped where it is ([`async_stops`]); one that only asks for the
//! time has to yield ([`tickless`]); a program that takes much longer than usual is stuck ([`overdue`]). Here is the
//! state, and how it is judged; [`preempt`](super::preempt) and [`ends`](super::ends) act on it.

pub(super) mod async_stops;
pub(super) mod overdue;
pub(super) mod pace;
pub(super) mod tickless;

use super::options::Options;
use async_stops::AsyncStops;
use overdue::Trial;
use pace::Pace;
use tickless::Tickless;

/// How long tasks, and the program, have made no progress.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) async_stops: AsyncStops,
    pub(super) tickless: Tickless,
    pub(super) trial: Trial,
    pub(super) pace: Pace,
}

impl Progress {
    /// Starts with a program that has just begun.
    pub(super) fn new(options: &Options<'_>) -> Self {
        Self {
            async_stops: AsyncStops::default(),
            tickless: Tickless::default(),
            trial: Trial::new(options),
            pace: Pace::default(),
        }
    }
}
