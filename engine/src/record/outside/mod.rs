//! What others than the program could come to, since it has a name: ports, paths, keys.
//!
//! [`reach`] says whether nobody outside can have a part in a wait, [`claims`] which of those names the program has used, so
//! that two programs that use the same can be kept apart. The room stands on [`tree`](super::tree) and
//! [`kernel`](super::kernel).

pub(super) mod claims;
pub(super) mod reach;
