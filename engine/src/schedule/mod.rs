//! Who runs next. Pure: it knows no process, so that every rule here can be tested alone.

pub mod deadline;
mod fair;
pub mod futex;
mod newborns;
mod random;
pub mod strategy;
mod walk;

pub use strategy::{Choice, Operation, Plan, Point, Strategy, StrategyName, Why};

/// A timeslice so long that its end costs nothing, in ticks, yet short enough that the end of a sleep is noticed soon.
const LONG_SLICE: u64 = 10_000;

/// The strategy that a plan describes, at its start.
#[must_use]
pub fn build(plan: &Plan) -> Box<dyn Strategy> {
    match plan.strategy {
        StrategyName::Fair => Box::new(fair::Fair::default()),
        StrategyName::Walk | StrategyName::Pct => Box::new(walk::Walk::new(plan)),
    }
}
