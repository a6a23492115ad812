//! The races of the fixtures: what each is, and how it is found.

use std::path::Path;

use crate::Harness;
use crate::report::{Attempt, Report};
use crate::tool::Run;

/// A fixture with a bug.
#[derive(Debug)]
pub struct Race {
    /// Its package.
    pub package: &'static str,
    /// The level at which it can be found.
    level: &'static str,
    /// How it ends, as JSON has it: outcome, exit code, signal.
    ending: (&'static str, Option<u64>, Option<u64>),
    /// What the report says of it. Thread names have 15 bytes, as the kernel keeps them.
    says: &'static [&'static str],
}

const FAILED: (&str, Option<u64>, Option<u64>) = ("failed", Some(101), None);
const DEADLOCKED: (&str, Option<u64>, Option<u64>) = ("deadlocked", None, None);

/// All races.
pub const RACES: &[Race] = &[
    Race { package: "lost-update", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "missed-wait", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "check-then-act", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "unsafe-race", level: "memory", ending: FAILED, says: &["panicked at"] },
    Race { package: "file-race", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "c-race", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "async-order", level: "sync", ending: FAILED, says: &["panicked at"] },
    Race { package: "sleep-order", level: "sync", ending: FAILED, says: &["panicked at", "; surprises: "] },
    Race { package: "spurious", level: "sync", ending: FAILED, says: &["panicked at", "; surprises: "] },
    Race { package: "short-read", level: "sync", ending: FAILED, says: &["panicked at", "; surprises: "] },
    Race {
        package: "lock-order",
        level: "sync",
        ending: DEADLOCKED,
        says: &["`hiring`", "`reform`", "lock_order::Directory::join", "lock_order::Directory::disband"],
    },
    Race {
        package: "lost-wakeup",
        level: "sync",
        ending: DEADLOCKED,
        says: &["`caller`", "lost_wakeup::Gate::pass", "`everybody_passe`"],
    },
    Race {
        package: "wake-order",
        level: "sync",
        ending: DEADLOCKED,
        says: &["`second`", "`third`", "wake_order::Counter::come"],
    },
    Race {
        package: "join-cycle",
        level: "sync",
        ending: DEADLOCKED,
        says: &["`intake`", "`writer`", "`janitor`", "join_cycle::Archive::write"],
    },
    Race {
        package: "crash",
        level: "sync",
        ending: ("crashed", None, Some(11)),
        says: &["SIGSEGV", "crash::Table::get"],
    },
];

/// Attempts within which whatever is looked for is found: the rarest failure of a fixture takes a few hundred, and chance
/// may want many times as many. The first failure ends a run.
pub const ENOUGH: &str = "30000";

/// How long experiments after a failure may take: on a busy machine a single attempt takes seconds. They end when all is
/// found out.
pub const LONG_ENOUGH: &str = "10m";

impl Race {
    /// Look for it with a seed. Returns the failing attempt, and what the run said.
    ///
    /// # Panics
    /// If it is not found, or is something else.
    #[must_use]
    pub fn find(&self, world: &Harness, seed: u64, traces: &Path) -> (Attempt, Run) {
        let mut command = world.fixture(self.package, traces);
        command.args([
            "--until-fail",
            "--runs",
            ENOUGH,
            "-j1",
            "--preempt",
            self.level,
            "--explain",
            "never",
        ]);
        let run = Run::of(command.args(["--seed", &seed.to_string()])).expect(101);
        let report = Report::of(&run);
        let failing: Vec<_> = report.failing().cloned().collect();
        let [attempt] = &failing[..] else { panic!("one attempt at a time, one failure: {run}") };
        let number = |field: &str| attempt.0[field].as_u64();
        let ending = (attempt.text("outcome"), number("exit_code"), number("signal"));
        assert_eq!(ending, self.ending, "{run}");
        assert_eq!(crate::traces(traces), Vec::from_iter(attempt.trace()), "{run}");
        let run = run.says(self.says);
        (attempt.clone(), run)
    }
}
