//! The campaign: attempts at the tests in turn, at those that take long less often, until a failure, a number or a time.

pub(crate) mod dispatch;
mod doubt;
mod ledger;
mod queue;
mod registry;
pub(crate) mod schedule;
#[cfg(test)]
mod tests;
mod worker;
