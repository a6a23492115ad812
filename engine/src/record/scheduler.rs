//! Who runs next.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::options::Options;
use super::start::start_up::StartUp;
use super::tree::tasks::{Task, Tasks};
use crate::clock::Clock;
use crate::schedule::{self, Plan, Strategy};
use crate::syscalls::{self, Starter};
use crate::task::TaskId;
use crate::tracee::Registers;

/// The strategy, and what it is asked with.
pub(super) struct Scheduler {
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) random: Xoshiro256PlusPlus,
    /// Present while the program starts up.
    pub(super) start_up: Option<StartUp>,
    /// Ticks of all tasks at the last call other than sched_yield(2).
    pub(super) last_call: u64,
    /// Operations that the lookout had counted at the last decision.
    pub(super) events: u64,
}

impl Scheduler {
    /// Creates a scheduler that has not been asked yet.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            strategy: schedule::build(plan),
            random: Xoshiro256PlusPlus::seed_from_u64(plan.seed),
            start_up: None,
            last_call: 0,
            events: 0,
        }
    }

    /// Adds a new task.
    pub(in crate::record) fn join(&mut self, tasks: &mut Tasks, clock: &Clock, task: Task) {
        let id = task.id;
        match task.slot() {
            Some(slot) => clock.area().clear_slot(slot),
            None => tasks.crowded = true,
        }
        tasks.add(task);
        self.strategy.spawned(id);
        self.note_turn(tasks, clock, id);
    }

    /// Tells the process when a task ran last, after the strategy has decided or got to know a task.
    pub(in crate::record) fn note_turn(&self, tasks: &Tasks, clock: &Clock, id: TaskId) {
        if let Some(slot) = tasks[id].slot() {
            clock.area().set_last_ran(slot, self.strategy.last_ran(id));
        }
    }

    /// Notes a call by any task.
    pub(in crate::record) fn note_call(&mut self, clock: &Clock, number: u64) {
        if number != libc::SYS_sched_yield as u64 {
            self.last_call = clock.total();
        }
    }

    /// Returns the source of random bytes.
    pub(in crate::record) fn randomness(&mut self) -> &mut Xoshiro256PlusPlus {
        self.start_up.as_mut().map_or(&mut self.random, |start_up| &mut start_up.random)
    }

    /// Whether the program has started up with the call that a task has reached.
    pub(in crate::record) fn has_started(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        id: TaskId,
        registers: &Registers,
    ) -> bool {
        let memory = &tasks[id].space.memory;
        let (number, args) = (registers.number(), registers.args());
        let Some(start_up) = &mut self.start_up else { return false };
        // The C library makes this call once everything is loaded.
        start_up.linking &= number != libc::SYS_set_tid_address as u64;
        let starter = match start_up.linking {
            true => Starter::Linker,
            false if options.watchdog_main => Starter::Harness,
            false => Starter::Program,
        };
        let over = !syscalls::starts_up(memory, number, &args, starter);
        self.start_up.take_if(|_| over).is_some()
    }
}
