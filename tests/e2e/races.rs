//! Each race of the fixtures is found within 500 attempts, for what it is.

use rrtest_tests::Harness;
use rrtest_tests::races::RACES;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::Tests;

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
