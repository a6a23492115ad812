//! Futexes, which the recorder has in the kernel's place: so it knows who waits, and chooses whom a wake wakes.
//!
//! The queues are in [`crate::schedule::futex`]; here are wakes, the futexes whose holders are known, what becomes of those that a
//! task holds as it ends, and which ones processes share. The room stands on [`surprises`](super::surprises), of which wakes are
//! one.

pub(super) mod inherit;
mod queues;
mod robust;
pub(super) mod sharing;

use crate::schedule::futex::FutexTable;
use inherit::Holders;
use sharing::Sharing;

/// All futexes that somebody waits for, and what is known of those that hold them.
#[derive(Debug, Default)]
pub(super) struct Futexes {
    pub(super) table: FutexTable,
    pub(super) holders: Holders,
    pub(super) sharing: Sharing,
}
