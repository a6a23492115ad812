//! Looks at tasks where a script marks a place.

use std::collections::BTreeMap;

use super::in_process::call_sites::CallSites;
use super::tree::spawned::{KnownSymbols, symbols_of};
use super::tree::tasks::Tasks;
use crate::mark::{Access, Mark};
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
    /// Notes what a task that has come to a mark is about to do, and where. The last tick has told of an address and the
    /// kind of access.
    pub(in crate::record) fn note(
        &mut self,
        tasks: &Tasks,
        call_sites: &CallSites,
        spot: Spot,
        operation: Option<Operation>,
        (touched, kind): (u64, u64),
    ) {
        let task = &tasks[spot.task];
        let Some(registers) = task.registers() else { return };
        let place = call_sites.place(tasks, spot.task, &registers);
        let symbols = self.symbols.entry(task.space.number).or_insert_with(|| symbols_of(task.tid));
        let frames = symbols.backtrace(place.registers(), &mut |address, buffer| place.read(address, buffer));
        let is_told = matches!(operation, Some(Operation::Memory { address, .. }) if address == touched);
        let access = if is_told { Access::of_tick(touched, kind, task.space.number) } else { None };
        self.found.push(Mark { spot, thread: tasks.thread(spot.task), operation, access, frames });
    }
}
