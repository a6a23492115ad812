//! What processes outside of the recorded tree could come to, because it has a name: ports, paths, keys.
//!
//! [`reach`] says whether one of them could end a wait; [`claims`] lists the names that the program has used, so that two
//! programs that use the same ones can be kept apart. The room stands on [`tree`](super::tree) and
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
