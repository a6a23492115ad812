//! Futexes, which the recorder emulates: so it knows who waits, and chooses whom a wake wakes.
//!
//! The queues are in [`crate::schedule::futex`]. Here are wakes, futexes with known owners, the fate of those that a
//! task owns when it ends, and the keys of futexes that processes share. The room stands on
//! [`surprises`](super::surprises), as wakes may be one.

pub(super) mod keys;
pub(super) mod pi;
mod queues;
mod robust;

use crate::schedule::futex::FutexTable;
use keys::FutexKeys;
use pi::Holders;

/// All futexes that tasks wait for, and what is known of their owners.
#[derive(Debug, Default)]
pub(super) struct Futexes {
    pub(super) table: FutexTable,
    pub(super) holders: Holders,
    pub(super) keys: FutexKeys,
}
