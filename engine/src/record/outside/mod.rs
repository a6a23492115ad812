//! What processes outside the recorded tree could reach because it has a name: ports, paths, keys.
//!
//! [`reach`] determines whether one of them could end a wait. [`claims`] lists the names that the program has used, so
//! that programs that use the same names can be kept apart. The room stands on [`tree`](super::tree) and
//! [`kernel`](super::kernel).

pub(super) mod claims;
pub(super) mod locks;
pub(super) mod reach;

use claims::Claimed;
use locks::Takers;
use reach::Reach;

/// What the program shares with others by name.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) reach: Reach,
    pub(super) claimed: Claimed,
    pub(super) takers: Takers,
}
