//! What is right under every schedule, and however time passes, never fails.

use rrtest_tests::Harness;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::Tests;

/// Attempts of each test, unless `RRTEST_STEADY_RUNS` says otherwise.
const RUNS: &str = "5";

/// How chaos may be asked for.
const WAYS: &[&[&str]] = &[
    &["--preempt", "sync", "--strategy", "walk"],
    &["--preempt", "sync", "--strategy", "pct,starve"],
    &["--preempt", "sync", "--strategy", "pos,surw"],
    &["--preempt", "sync"],
    &["--no-chaos"],
    &["--preempt", "memory"],
    &["--preempt", "syscall"],
    // While so many programs are started, each for a moment has what the recorder has, pipes among it.
    &["--preempt", "sync", "-j64"],
];

/// The same for `timestamps`.
const PASSING: &[&[&str]] = &[
    &["--time", "virtual", "--surprises", "usual,interrupt,year,tz"],
    &["--time", "virtual", "--no-chaos"],
    &["--time", "virtual", "--preempt", "memory"],
];

pub(crate) fn add(tests: &mut Tests) {
    for (fixture, ways) in [("steady", WAYS), ("timestamps", PASSING)] {
        for way in ways {
            let runs = std::env::var("RRTEST_STEADY_RUNS").unwrap_or_else(|_| RUNS.to_owned());
            tests.add(format!("{fixture}::{}", way.join("-").replace("--", "")), move |world| {
                survives(world, fixture, way, &runs)
            });
        }
    }
}

/// A fixture passes all attempts, and leaves no trace.
pub(crate) fn survives(world: &Harness, fixture: &str, way: &[&str], runs: &str) {
    let traces = world.dir();
    let run = Run::of(world.fixture(fixture, traces.path()).args(["--runs", runs]).args(way)).expect(0);
    let report = Report::of(&run);
    let tests = report.tests().len();
    assert!(tests >= 9, "{run}");
    assert_eq!(report.attempts.len(), tests * runs.parse::<usize>().expect("a number"), "{run}");
    assert_eq!(report.failing().count(), 0, "{run}");
    assert_eq!(rrtest_tests::traces(traces.path()), [] as [std::path::PathBuf; 0]);
}
