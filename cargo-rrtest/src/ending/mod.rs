//! How a recorded program ended, in words: in one ([`outcome`]), and in sentences that say what its threads did ([`describe`]), with its
//! output, its panic, and what surprises did to its time. [`fingerprint`] tells whether two failures are the same one.
//!
//! This room stands on [`base`](crate::base) alone.

pub(crate) mod backtrace;
pub(crate) mod describe;
pub(crate) mod explanation;
pub(crate) mod fingerprint;
pub(crate) mod outcome;
pub(crate) mod output;
mod overdue;
pub(crate) mod panic;
pub(crate) mod stacks;
pub(crate) mod strikes;
pub(crate) mod waits;
