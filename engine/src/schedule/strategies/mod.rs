//! The strategies: each a file that implements [`Strategy`], and what several of them need.
//!
//! [`FairnessFallback`](fairness_fallback::FairnessFallback) sees to it that everybody runs in the end, whatever the
//! strategy inside it does; [`HeldBack`](held_back::HeldBack) lets a thread's creator go first;
//! [`Notes`](noted::Notes) writes down what is decided. The room stands on [`strategy`](super::strategy),
//! [`script`](super::script) and on random numbers.

mod fair;
mod fairness_fallback;
mod held_back;
mod noted;
mod pct;
mod per_task;
mod pos;
mod scripted;
mod starve;
mod surw;
mod systematic;
mod walk;

use super::names::StrategyName;
use super::strategy::{Plan, Strategy};

pub(super) use systematic::AT_ONCE;

/// Builds the strategy that a plan describes.
#[must_use]
pub fn build(plan: &Plan) -> Box<dyn Strategy> {
    Box::new(noted::Notes::new(unnoted(plan), plan))
}

/// Builds a strategy whose decisions nobody notes.
fn unnoted(plan: &Plan) -> Box<dyn Strategy> {
    let chaos: Box<dyn Strategy> = match plan.strategy {
        StrategyName::Fair => return Box::new(fair::Fair::new(plan)),
        StrategyName::Systematic => return Box::new(systematic::Systematic::new(plan)),
        StrategyName::Scripted => Box::new(scripted::Scripted::new(plan)),
        StrategyName::Walk => Box::new(walk::Walk::new(plan)),
        StrategyName::Pct => Box::new(pct::Pct::new(plan)),
        StrategyName::Pos | StrategyName::Guided => Box::new(pos::Pos::new(plan)),
        StrategyName::Surw => Box::new(surw::Surw::new(plan)),
        StrategyName::Starve => Box::new(starve::Starve::new(plan)),
    };
    Box::new(fairness_fallback::FairnessFallback::new(chaos, plan))
}
