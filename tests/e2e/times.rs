//! Surprises in time, in where the clocks stand, and in the machine: each kind finds what it alone can find, and says
//! what it has done, where.

use rrtest_tests::Harness;
use rrtest_tests::races::{ENOUGH, LONG_ENOUGH};
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
        package: "clocks",
        test: "it_is_as_old_as_it_was_made",
        kind: "date",
        says: &["`date`: the test began ", " before the end of a"],
    },
    Wrong {
        package: "clocks",
        test: "the_bill_is_of_this_month",
        kind: "date",
        says: &["`date`: the test began ", " before the end of a", "a test can be run at any time"],
    },
    Wrong {
        package: "clocks",
        test: "in_half_an_hour_it_is_half_an_hour_later",
        kind: "year",
        says: &["`year`: the test began ", " before the clocks change, 2"],
    },
    Wrong {
        package: "clocks",
        test: "there_was_a_minute_before",
        kind: "uptime",
        says: &["`uptime`: the machine had been up for ", " when the test began"],
    },
    Wrong {
        package: "clocks",
        test: "time_goes_on",
        kind: "clock-step",
        says: &[
            "`clock-step`: the wall clock was set back by ",
            " before it was read at clocks/tests/it.rs:",
        ],
    },
    Wrong {
        package: "clocks",
        test: "identifiers_are_unique",
        kind: "coarse-clock",
        says: &["`coarse-clock`: the clock told the same time again at clocks/src/lib.rs:"],
    },
    Wrong {
        package: "clocks",
        test: "it_is_the_same_day_everywhere",
        kind: "tz",
        says: &["`tz`: the test ran with TZ="],
    },
    Wrong {
        package: "clocks",
        test: "what_is_written_anew_is_read_anew",
        kind: "coarse-mtime",
        says: &["`coarse-mtime`: the times of files were multiples of "],
    },
    Wrong {
        package: "machine",
        test: "the_workers_add_up",
        kind: "cores",
        says: &["`cores`: the machine had one core"],
    },
    Wrong {
        package: "machine",
        test: "a_copy_lists_as_the_original_does",
        kind: "dir-order",
        says: &["`dir-order`: directories listed their entries in another order"],
    },
    Wrong {
        package: "machine",
        test: "the_port_is_still_free",
        kind: "port-reuse",
        says: &["`port-reuse`: the socket bound at machine/tests/it.rs:", ", which had been given back"],
    },
    Wrong {
        package: "machine",
        test: "slot_7_is_free_for_other_things",
        kind: "placement",
        says: &["`placement`: new memory was placed elsewhere"],
    },
    Wrong {
        package: "machine",
        test: "the_notes_are_counted",
        kind: "enospc",
        says: &["`enospc`: write(2) failed at machine/src/lib.rs:", "the disk was full"],
    },
    Wrong {
        package: "machine",
        test: "all_files_are_there",
        kind: "emfile",
        says: &["`emfile`: openat(2) failed at machine/tests/it.rs:", "too many files were open"],
    },
    Wrong {
        package: "machine",
        test: "all_of_a_message_comes",
        kind: "eintr",
        says: &["`eintr`: recvfrom(2) was interrupted at machine/src/lib.rs:"],
    },
    Wrong {
        package: "machine",
        test: "the_other_end_is_there",
        kind: "econnreset",
        says: &["`econnreset`: ", "the other end had reset the connection"],
    },
    Wrong {
        package: "machine",
        test: "a_name_server_can_be_asked",
        kind: "dns",
        says: &["`dns`: connect(2) failed at machine/tests/it.rs:", "no name server could be reached"],
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
        // A machine that others use, too, may take longer than by default.
        command.args(["--explain", LONG_ENOUGH]);
        // A zone whose clocks change.
        command.env("TZ", "CET-1CEST,M3.5.0,M10.5.0/3");
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
                // What the program was not seen to notice is told by the explanation only.
                let told =
                    attempt.0.get("struck").and_then(|told| told.as_array()).cloned().unwrap_or_default();
                let off = format!("`--surprises no-{}` leaves this out", wrong.kind);
                let run = if told.is_empty() { run } else { run.says(&[&off]) };
                let begins = format!("`{}`: ", wrong.kind);
                assert!(
                    told.iter().all(|told| told.as_str().is_some_and(|it| it.starts_with(&begins))),
                    "{run}"
                );
            }
        });
    }
    tests.topic(
        "times",
        tests![
            long_sleeps_are_found_in_real_time,
            dates_are_found_in_real_time,
            the_date_is_explained,
            right_tests_pass,
            clocks_agree_wherever_they_stand,
            any_machine_will_do,
            calls_fail_as_asked
        ],
    );
}

fn long_sleeps_are_found_in_real_time(world: &Harness) {
    // The first attempt measures how long the test sleeps; after that the sleep may come early.
    WRONG[0].find(world, &["--time", "real", "--runs", ENOUGH, "--seed", "1"]);
}

fn dates_are_found_in_real_time(world: &Harness) {
    for wrong in WRONG.iter().filter(|wrong| ["date", "uptime"].contains(&wrong.kind)) {
        wrong.find(world, &["--time", "real", "--runs", "2000", "--seed", "1"]);
    }
}

/// Of all that has struck, only the date is to blame; without it the test passes.
fn the_date_is_explained(world: &Harness) {
    let traces = world.dir();
    let mut command = world.fixture("clocks", traces.path());
    command.args(["--preempt", "sync", "-j1", "--until-fail", "--runs", "5000", "--seed", "3"]);
    let run = Run::of(command.args(["the_log_is_todays", "--explain", LONG_ENOUGH])).expect(101);
    let report = Report::of(&run);
    let [explanation] = &report.explanations[..] else { panic!("one failure, one explanation: {run}") };
    let explanation = &explanation["explanation"];
    assert_eq!((&explanation["needs"], &explanation["surprises"]["after"]), (&"surprises".into(), &1.into()));
    assert_eq!(explanation["without"]["failed"], 0, "{run}");
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

/// Files, children, `/proc` and timers go by the same clocks.
fn clocks_agree_wherever_they_stand(world: &Harness) {
    let runs = std::env::var("RRTEST_STEADY_RUNS").unwrap_or_else(|_| "20".to_owned());
    for args in [
        &["--time", "virtual", "--surprises", "usual,year,tz"][..],
        &["--surprises", "date,year,uptime"],
        &["--time", "virtual", "--surprises", "coarse-clock,uptime", "it_was_made"],
        &["--time", "virtual", "--surprises", "coarse-mtime,date", "read_anew"],
        &["--time", "virtual", "--surprises", "clock-step", "does_not_go_back"],
    ] {
        let traces = world.dir();
        let mut command = world.fixture("sound-clocks", traces.path());
        // It sleeps for seconds.
        let skip: &[&str] = if args[0] == "--time" { &[] } else { &["--", "--skip", "read_anew"] };
        let run =
            Run::of(command.args(["--preempt", "sync", "--runs", &runs]).args(args).args(skip)).expect(0);
        assert_eq!(Report::of(&run).failing().count(), 0, "{run}");
    }
}

/// Cores, ports, directories, places of memory, and calls that fail.
fn any_machine_will_do(world: &Harness) {
    let runs = std::env::var("RRTEST_STEADY_RUNS").unwrap_or_else(|_| "20".to_owned());
    for args in [
        &["--surprises", "usual"][..],
        &["--surprises", "cores,dir-order,port-reuse,placement"],
        &["--surprises", "enospc,emfile", "is_not_counted"],
        &["--surprises", "eintr,econnreset,emfile", "are_told_from_others"],
    ] {
        let traces = world.dir();
        let mut command = world.fixture("sound-machine", traces.path());
        command.args(["--time", "virtual", "--preempt", "sync", "--runs", &runs]).args(args);
        let run = Run::of(&mut command).expect(0);
        assert_eq!(Report::of(&run).failing().count(), 0, "{run}");
    }
}

/// The third write fails, and each one of some.
fn calls_fail_as_asked(world: &Harness) {
    let traces = world.dir();
    let mut command = world.fixture("machine", traces.path());
    command.args(["--preempt", "sync", "--no-chaos", "--runs", "2", "--fault", "write:ENOSPC@3"]);
    let run = Run::of(command.args(["the_notes_are_counted", "--explain", "never"])).expect(101);
    let run = run.says(&["`fault`: write(2) failed with No space left on device", "as asked for"]);
    assert_eq!(Report::of(&run).failing().count(), 2, "{run}");
    // There are eight.
    let traces = world.dir();
    let mut command = world.fixture("machine", traces.path());
    command.args(["--preempt", "sync", "--runs", "40", "--seed", "1", "--fault", "write:ENOSPC@8..9"]);
    let run = Run::of(command.args(["the_notes_are_counted", "--explain", "never"])).expect(101);
    let failing = Report::of(&run).failing().count();
    assert!((1..40).contains(&failing), "{run}");
}
