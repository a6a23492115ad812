pub(crate) mod backtrace;
pub(crate) mod describe;
pub(crate) mod fingerprint;
pub(crate) mod outcome;
pub(crate) mod output;
mod overdue;
pub(crate) mod strikes;
pub(crate) mod waits;
