//! How a program starts up, the same way each time: up to the first call whose outcome depends on more than the program
//! (see [`syscalls::starts_up`]).
//!
//! Up to there it has a single task, no strategy is asked, and what little it sees of the world is made up. So all attempts of
//! a test are the same up to there, whatever their seeds, and can be copies of one process.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use crate::record::options::Options;
use crate::record::scheduler::Scheduler;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Choice;
use crate::syscalls::{self, Starter};
use crate::task::TaskId;
use crate::tracee::Registers;

/// What a program sees of the world while it starts up.
#[derive(Debug)]
pub(in crate::record) struct StartUp {
    pub(in crate::record) random: Xoshiro256PlusPlus,
    /// The dynamic linker is at work.
    pub(in crate::record) linking: bool,
}

impl Default for StartUp {
    fn default() -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(0), linking: false }
    }
}

impl StartUp {
    /// Whether every call must be looked at. Not those of the dynamic linker: of those that the buffer makes, it makes none that
    /// would end the start-up, and it looks for each library in a dozen directories.
    pub(in crate::record) fn looks_at_all(&self) -> bool {
        !self.linking
    }

    /// Who runs, and for how long: there is nothing to choose.
    pub(in crate::record) const CHOICE: Choice = Choice { task: TaskId(0), slice: 1 << 40, lookout: None };
}

impl Scheduler {
    /// Where random bytes come from.
    pub(in crate::record) fn randomness(&mut self) -> &mut Xoshiro256PlusPlus {
        self.start_up.as_mut().map_or(&mut self.random, |start_up| &mut start_up.random)
    }

    /// A task has come to a call. Whether the program has started up by that.
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
        // The C library says where to find its own idea of the thread, once all is loaded.
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
