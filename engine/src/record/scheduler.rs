//! Who runs next.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::options::Options;
use super::orders::OrdersSeen;
use super::start::start_up::StartUp;
use super::tree::task::Task;
use super::tree::tasks::Tasks;
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
    /// Operations that the access watch had counted at the last decision.
    pub(super) events: u64,
    /// What guided schedules show.
    pub(super) orders: OrdersSeen,
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
            orders: OrdersSeen::default(),
        }
    }

    /// Adds a new task.
    pub(in crate::record) fn join(&mut self, tasks: &mut Tasks, clock: &Clock, task: Task) {
        let id = task.id;
        match task.slot() {
            Some(slot) => clock.area().clear_slot(slot),
            None => tasks.out_of_slots = true,
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

#[cfg(test)]
mod tests {
    use rand_xoshiro::rand_core::RngCore;

    use super::*;
    use crate::record::testing::{options, task, tasks};
    use crate::schedule::{Hits, Point, StrategyName, Why};

    fn scheduler(seed: u64) -> Scheduler {
        Scheduler::new(&Plan::new(StrategyName::Fair, seed))
    }

    #[test]
    fn what_it_gives_at_random_is_the_seed_s_but_not_while_the_program_starts_up() {
        let draw = |seed, starts: bool| {
            let mut scheduler = scheduler(seed);
            scheduler.start_up = starts.then(StartUp::default);
            scheduler.randomness().next_u64()
        };
        assert_eq!(draw(1, false), draw(1, false));
        assert_ne!(draw(1, false), draw(2, false));
        assert_eq!(draw(1, true), draw(2, true), "all attempts start up alike");
    }

    #[test]
    fn a_new_task_is_known_to_the_strategy() {
        let (mut tasks, clock, mut scheduler) = (tasks(0), Clock::new().unwrap(), scheduler(1));
        let new = task(&mut tasks);
        scheduler.join(&mut tasks, &clock, new);
        let point = Point { current: None, why: Why::Start, ran: 0, next: None, found: Hits::default() };
        assert_eq!(scheduler.strategy.decide(point, tasks.runnable()).task, TaskId(0));
        assert!(!tasks.out_of_slots);
    }

    #[test]
    fn one_task_without_a_slot_means_out_of_slots_for_good() {
        let (mut tasks, clock, mut scheduler) = (tasks(0), Clock::new().unwrap(), scheduler(1));
        let mut new = task(&mut tasks);
        new.scratch = None;
        scheduler.join(&mut tasks, &clock, new);
        let new = task(&mut tasks);
        scheduler.join(&mut tasks, &clock, new);
        assert!(tasks.out_of_slots);
    }

    #[test]
    fn yields_are_no_calls_that_count() {
        let (mut clock, mut scheduler) = (Clock::new().unwrap(), scheduler(1));
        clock.start(10);
        clock.area().set_countdown(6);
        scheduler.note_call(&clock, libc::SYS_sched_yield as u64);
        assert_eq!(scheduler.last_call, 0);
        scheduler.note_call(&clock, libc::SYS_getpid as u64);
        assert_eq!(scheduler.last_call, 4);
    }

    #[test]
    fn a_program_has_started_up_once() {
        let (tasks, mut scheduler) = (tasks(1), scheduler(1));
        let registers = |number: i64| crate::record::testing::call(number, [0; 6]).registers;
        let starts = |scheduler: &mut Scheduler, number| {
            scheduler.has_started(&options(), &tasks, TaskId(0), &registers(number))
        };
        assert!(!starts(&mut scheduler, libc::SYS_clone), "it is no start-up");
        scheduler.start_up = Some(StartUp::default());
        assert!(!starts(&mut scheduler, libc::SYS_brk));
        assert!(starts(&mut scheduler, libc::SYS_clone));
        assert!(!starts(&mut scheduler, libc::SYS_clone) && scheduler.start_up.is_none());
    }
}
