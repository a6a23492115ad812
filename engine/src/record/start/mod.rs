//! What a program begins with: its image, and its first steps, up to the first call whose result depends on more than
//! the program.
//!
//! All attempts of a test begin alike, so these steps can be made once and copied: [`fork_check`] finds the words in
//! which two processes that have made them differ. The room stands on [`crate::tracee`] and on the table of calls.

pub(super) mod fork_check;
pub(super) mod image;
pub(super) mod start_up;
