//! What may happen to a program beyond the order of things, as it may on a busy machine.
//!
//! Waits end late or early, calls are interrupted or do a part of their work, sched_yield(2) returns at once. Which kinds there are,
//! and what allows them, is in [`crate::schedule::surprise`]; here is what those that have struck go on with, and the notes on them
//! ([`strikes`]). The room stands on [`in_process`](super::in_process), which knows places in code.

pub(super) mod caprice;
pub(super) mod in_calls;
pub(super) mod strikes;
pub(super) mod yields;

use super::options::Options;
use crate::schedule::surprise::Dice;
use caprice::Caprice;
use strikes::Strikes;
use yields::Spells;

/// Which surprises may strike, and what those that have struck go on with.
#[derive(Debug)]
pub(super) struct Surprises {
    pub(super) dice: Dice,
    pub(super) caprice: Caprice,
    pub(super) spells: Spells,
    pub(super) strikes: Strikes,
}

impl Surprises {
    /// None has struck yet.
    pub(super) fn new(options: &Options<'_>) -> Self {
        Self {
            dice: Dice::new(options.surprises, options.plan.seed),
            caprice: Caprice::default(),
            spells: Spells::default(),
            strikes: Strikes::default(),
        }
    }
}
