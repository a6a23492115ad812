//! The tests that test binaries have: their names, how to run each, and which of them the user wants.
//!
//! Cargo calls us as its target [`runner`] in place of each binary. We ask the binary for its tests ([`listing`], in the language of
//! [`libtest`]), and [`find`] makes a [`test::Test`] of each answer that is the user's [`choice`]: by libtest's arguments, by nextest's
//! [`filterset`]s, by [`partition`].
//!
//! This room stands on [`base`](crate::base) alone.

pub(crate) mod choice;
pub(crate) mod filterset;
pub(crate) mod find;
pub(crate) mod libtest;
mod listing;
pub(crate) mod partition;
pub(crate) mod runner;
pub(crate) mod secrets;
pub(crate) mod test;
