//! What a program begins with: its image, and the way up to the first call whose outcome depends on more than the program.
//!
//! All attempts of a test begin alike, so the way is gone once: [`twins`] finds the words in which two processes that have
//! gone it differ. The room stands on [`crate::tracee`] and the table of calls.

pub(super) mod image;
pub(super) mod start_up;
pub(super) mod twins;
