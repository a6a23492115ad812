//! Who runs next.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::start::start_up::StartUp;
use crate::schedule::{self, Plan, Strategy};

/// The strategy, and what it is asked with.
pub(super) struct Scheduler {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) random: Xoshiro256PlusPlus,
    /// As long as the program starts up.
    pub(super) start_up: Option<StartUp>,
    /// Ticks of all tasks when one has last made a call, other than sched_yield(2).
    pub(super) last_call: u64,
    /// What had been counted on the lookout at the last decision.
    pub(super) events: u64,
}

impl Scheduler {
    /// One that has not been asked yet.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            strategy: schedule::build(plan),
            random: Xoshiro256PlusPlus::seed_from_u64(plan.seed),
            start_up: None,
            last_call: 0,
            events: 0,
        }
    }
}
