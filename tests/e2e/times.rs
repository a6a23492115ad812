//! Surprises in time: each kind finds what it alone can find, and says what it has done, where.

use rrtest_tests::Harness;
use rrtest_tests::races::ENOUGH;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::{Tests, tests};

/// A fixture with a test that fails by one kind of surprise.
struct Wrong {
    package: &'static str,
    test: &'static str,
    kind: &'static str,
    /// What the report says of it.
    says: &'static [&'static str],
}

const WRONG: &[Wrong] = &[
    Wrong {
        package: "long-sleep",
        test: "sleeps_150_ms",
        kind: "early",
        says: &[
            "`early`: the sleep of 150 ms at long-sleep/tests/it.rs:",
            "ended while ",
            "`server`",
            " had not run",
        ],
    },
    Wrong {
        package: "long-sleep",
        test: "sleeps_300_ms",
        kind: "early",
        says: &[
            "`early`: the sleep of 300 ms at long-sleep/tests/it.rs:",
            "ended while ",
            "`server`",
            " had not run",
        ],
    },
    Wrong {
        package: "long-sleep",
        test: "sleeps_2_s",
        kind: "early",
        says: &[
            "`early`: the sleep of 2 s at long-sleep/tests/it.rs:",
            "ended while ",
            "`server`",
            " had not run",
        ],
    },
    Wrong {
        package: "time-limit",
        test: "an_answer_comes_within_500_ms",
        kind: "early",
        says: &["`early`: the time limit of 500 ms at time-limit/tests/it.rs:", "ran out while `worker`"],
    },
    Wrong {
        package: "lagging-reader",
        test: "the_reader_keeps_up",
        kind: "stall",
        says: &["`stall`: `reader`, which could run", "waits of others ended meanwhile"],
    },
    Wrong {
        package: "slow-work",
        test: "takes_less_than_50_ms",
        kind: "slow",
        says: &["`slow`: ", " went by before the clock was read at slow-work/tests/it.rs:"],
    },
    Wrong {
        package: "slow-work",
        test: "takes_less_than_2_s",
        kind: "slow",
        says: &["`slow`: 2", " s went by before the clock was read at slow-work/tests/it.rs:"],
    },
    Wrong {
        package: "spin-then-sleep",
        test: "the_worker_is_released",
        kind: "yield",
        says: &["`yield`: giving way at spin-then-sleep/src/lib.rs:", "let nobody else run"],
    },
];

impl Wrong {
    /// Look for it with a seed. Returns the failing attempt, and what the run said.
    fn find(&self, world: &Harness, args: &[&str]) -> (Attempt, Run) {
        let traces = world.dir();
        let mut command = world.fixture(self.package, traces.path());
        command.args(["--preempt", "sync", "-j1", "--until-fail", self.test, "--surprises", self.kind]);
        let run = Run::of(command.args(args)).expect(101).says(self.says);
        let failing = Report::of(&run).failing().next().cloned().expect("a failure");
        (failing, run)
    }
}

pub(crate) fn add(tests: &mut Tests) {
    for wrong in WRONG {
        tests.add(format!("times::{}", wrong.test), |world| {
            for seed in [1, 2, 3] {
                let seed = seed.to_string();
                let (attempt, run) =
                    wrong.find(world, &["--time", "virtual", "--runs", ENOUGH, "--seed", &seed]);
                let off = format!("`--surprises no-{}` leaves this out", wrong.kind);
                let run = run.says(&[&off]);
                let told = attempt.0["struck"].as_array().expect("what has struck");
                let begins = format!("`{}`: ", wrong.kind);
                assert!(
                    told.iter().all(|told| told.as_str().is_some_and(|it| it.starts_with(&begins))),
                    "{run}"
                );
            }
        });
    }
    tests.topic("times", tests![long_sleeps_are_found_in_real_time, right_tests_pass]);
}

fn long_sleeps_are_found_in_real_time(world: &Harness) {
    // The first attempt measures how long the test sleeps; after that the sleep may come early.
    WRONG[0].find(world, &["--time", "real", "--runs", ENOUGH, "--seed", "1"]);
}

/// Tests that rely on nothing but what is promised pass all attempts.
fn right_tests_pass(world: &Harness) {
    let runs = std::env::var("RRTEST_STEADY_RUNS").unwrap_or_else(|_| "20".to_owned());
    let traces = world.dir();
    let mut command = world.fixture("sound-times", traces.path());
    command.args(["--time", "virtual", "--runs", &runs]);
    let run = Run::of(&mut command).expect(0);
    assert_eq!(Report::of(&run).failing().count(), 0, "{run}");
}
