//! Each race of the fixtures is found within 500 attempts, for what it is.

use rrtest_tests::Harness;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::Tests;

/// A fixture with a bug.
pub(crate) struct Race {
    /// Its package.
    pub(crate) package: &'static str,
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
pub(crate) const RACES: &[Race] = &[
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

/// Attempts within which each is found.
const ATTEMPTS: &str = "500";

impl Race {
    /// Look for it with a seed. Returns the failing attempt, and what the run said.
    pub(crate) fn find(&self, world: &Harness, seed: u64, traces: &std::path::Path) -> (Attempt, Run) {
        let mut command = world.fixture(self.package, traces);
        command.args(["--until-fail", "--runs", ATTEMPTS, "-j1", "--preempt", self.level]);
        let run = Run::of(command.args(["--seed", &seed.to_string()])).expect(101);
        let report = Report::of(&run);
        let failing: Vec<_> = report.failing().cloned().collect();
        let [attempt] = &failing[..] else { panic!("one attempt at a time, one failure: {run}") };
        let number = |field: &str| attempt.0[field].as_u64();
        let ending = (attempt.text("outcome"), number("exit_code"), number("signal"));
        assert_eq!(ending, self.ending, "{run}");
        assert_eq!(rrtest_tests::traces(traces), Vec::from_iter(attempt.trace()), "{run}");
        let run = run.says(self.says);
        (attempt.clone(), run)
    }
}

pub(crate) fn add(tests: &mut Tests) {
    tests.add("races::whatever_the_level".to_owned(), |world| {
        // Nothing says that it takes preemption at plain accesses.
        let traces = world.dir();
        // The first attempt, at the other level, has ended before the next one begins.
        let run =
            Run::of(world.fixture("unsafe-race", traces.path()).args(["--until-fail", "-j1"])).expect(101);
        let report = Report::of(&run);
        assert!(report.failing().all(|attempt| attempt.text("preempt") == "memory"), "{run}");
        assert!(report.attempts.iter().any(|attempt| attempt.text("preempt") == "sync"), "{run}");
    });
    for race in RACES {
        tests.add(format!("races::{}", race.package), |world| {
            for seed in [1, 2, 7, 0xdead_beef_0000_0003] {
                let traces = world.dir();
                let (_, _) = race.find(world, seed, traces.path());
            }
        });
    }
    tests.topic("races", crate::tests![keep_going_keeps_one_trace_of_a_distinct_failure]);
}

fn keep_going_keeps_one_trace_of_a_distinct_failure(world: &Harness) {
    let traces = world.dir();
    let mut command = world.fixture("lost-update", traces.path());
    let run =
        Run::of(command.args(["--until-fail", "--keep-going", "--runs", "200", "--seed", "5"])).expect(101);
    let report = Report::of(&run);
    assert_eq!(report.attempts.len(), 200, "{run}");
    // The fixture has one assertion.
    assert!(report.failing().count() > 1, "{run}");
    assert_eq!(report.traces().len(), 1, "{run}");
    assert_eq!(rrtest_tests::traces(traces.path()), report.traces());
    assert_eq!(report.summary["failed"], serde_json::json!(["lost-update::it every_transfer_counts"]));
}
