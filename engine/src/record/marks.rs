//! Looks at tasks where a script marks a place.

use std::collections::BTreeMap;

use super::in_process::call_sites::CallSites;
use super::tree::spawned::{KnownSymbols, symbols_of};
use super::tree::tasks::Tasks;
use crate::mark::Mark;
use crate::schedule::Operation;
use crate::schedule::script::Spot;

/// What has been found at marks. Attempts without any pay nothing.
#[derive(Default)]
pub(super) struct Marks {
    pub(super) found: Vec<Mark>,
    /// By address space.
    symbols: BTreeMap<u32, KnownSymbols>,
}

impl Marks {
    /// Notes what a task that has come to a mark is about to do, and where.
    pub(in crate::record) fn note(
        &mut self,
        tasks: &Tasks,
        call_sites: &CallSites,
        spot: Spot,
        operation: Option<Operation>,
    ) {
        let task = &tasks[spot.task];
        let Some(registers) = task.registers() else { return };
        let place = call_sites.place(tasks, spot.task, &registers);
        let symbols = self.symbols.entry(task.space.number).or_insert_with(|| symbols_of(task.tid));
        let frames = symbols.backtrace(place.registers(), &mut |address, buffer| place.read(address, buffer));
        self.found.push(Mark { spot, thread: tasks.thread(spot.task), operation, frames });
    }
}
