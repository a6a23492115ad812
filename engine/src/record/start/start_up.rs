//! The start-up of a program, which is the same each time: up to the first call whose result depends on more than the
//! program (see [`crate::syscalls::starts_up`]).
//!
//! Until then it has a single task, no strategy is asked, and what little it sees of the world is made up. So all
//! attempts of a test are equal up to there, whatever their seeds, and can be copies of one process.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use crate::schedule::Choice;
use crate::task::TaskId;

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
    /// Whether every call must be inspected. Calls of the dynamic linker need not be: none that the buffer makes for it
    /// would end the start-up, and it looks for each library in a dozen directories.
    pub(in crate::record) fn looks_at_all(&self) -> bool {
        !self.linking
    }

    /// Who runs, and for how long: there is nothing to choose.
    pub(in crate::record) const CHOICE: Choice =
        Choice { task: TaskId(0), slice: 1 << 40, access_watch: None };
}
