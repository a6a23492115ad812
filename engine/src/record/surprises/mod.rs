//! Rare but legal events that the recorder injects, as they may happen on a busy machine.
//!
//! Waits end late or early, calls are interrupted or do only a part of their work, sched_yield(2) returns at once. All
//! kinds, and what makes them legal, are in [`crate::schedule::surprise`]. Here is the state of those that have struck,
//! and the notes on them ([`strikes`]). The room stands on [`in_process`](super::in_process), which knows places in
//! code.

pub(super) mod at_reads;
pub(super) mod faults;
pub(super) mod in_calls;
pub(super) mod listing;
pub(super) mod placement;
pub(super) mod ports;
pub(super) mod started;
pub(super) mod strikes;
pub(super) mod under_way;
pub(super) mod yields;

use std::ffi::OsString;

use super::options::Options;
use crate::schedule::StrategyName;
use crate::schedule::injector::Injector;
use crate::schedule::surprise::Surprise;
use at_reads::AtReads;
use faults::Fault;
use placement::Placement;
use ports::Given;
use strikes::Strikes;
use under_way::UnderWay;
use yields::Spells;

/// Which surprises may strike, and the state of those that have struck.
#[derive(Debug)]
pub(super) struct Surprises {
    pub(super) injector: Injector,
    pub(super) under_way: UnderWay,
    pub(super) spells: Spells,
    pub(super) at_reads: AtReads,
    /// Whether it has been decided where the program begins.
    pub(super) begun: bool,
    /// What the program's environment says of the time zone (`TZ`).
    pub(super) zone: Option<OsString>,
    /// On what the order of directory entries depends, if it is not the kernel's.
    pub(super) listing: Option<u64>,
    /// Where new memory is placed, if the kernel does not choose.
    pub(super) placement: Option<Placement>,
    /// Faults that are to come.
    pub(super) faults: Vec<Fault>,
    /// Ports that the kernel has given.
    pub(super) ports: Vec<Given>,
    pub(super) strikes: Strikes,
}

impl Surprises {
    /// Starts before any has struck.
    pub(super) fn new(options: &Options<'_>) -> Self {
        let plan = &options.plan;
        let allowed = match options.faults {
            [] => options.surprises,
            _ => options.surprises.with(Surprise::Fault),
        };
        let injector = match plan.strategy {
            StrategyName::Scripted => Injector::scripted(allowed, plan.seed, &plan.script.strokes),
            _ => Injector::new(allowed, plan.seed),
        };
        Self {
            injector,
            under_way: UnderWay::default(),
            spells: Spells::default(),
            at_reads: AtReads::default(),
            begun: false,
            zone: None,
            listing: None,
            placement: None,
            faults: Vec::new(),
            ports: Vec::new(),
            strikes: Strikes::default(),
        }
    }
}
