//! The campaign: attempts at the tests in turn, at those that take long less often, until a failure, a number or a time.
//!
//! [`dispatch`] starts a [`worker`] on each core. Workers take attempts from one [`queue`], which goes by the [`progress`] of
//! each test, and has some of them [`guide`]d by earlier ones. The [`ledger`] keeps apart those that would disturb each other,
//! and the [`registry`] does so between campaigns on the machine. [`doubt`] makes a failure again alone if another attempt may
//! have had a part in it.
//! The pins of tests are handed out before anything else; [`pinned`] tries one. [`verify`] tries an old failure again before
//! a campaign.
//!
//! This room stands on [`explain`](crate::explain), [`pins`](crate::pins), and [`attempt`](crate::attempt), which makes each
//! attempt, and on the rooms below these.

pub(crate) mod agenda;
pub(crate) mod dispatch;
mod doubt;
mod guide;
mod ledger;
mod pinned;
mod progress;
mod queue;
mod registry;
mod running;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
mod worker;
