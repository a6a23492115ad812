//! Whether threads, system calls and switches cost as much each however many there are.

use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::fixture::Bench;
use crate::table::{Goal, Row, Unit, median, seconds};

/// Tests of the fixture `scaling`, with how many units each has.
const UNITS: &[(&str, [(&str, f64); 3])] = &[
    ("thread", [("threads_8", 8.0), ("threads_64", 64.0), ("threads_512", 512.0)]),
    ("system call", [("calls_10000", 1e4), ("calls_100000", 1e5), ("calls_1000000", 1e6)]),
    ("switch", [("switches_10000", 1e4), ("switches_100000", 1e5), ("switches_1000000", 1e6)]),
];

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let attempts = |runs: u32, args: &[&str]| {
        let mut command = bench.rrtest("scaling");
        command.args(["-j1", "--no-chaos", "--runs", &runs.to_string()]).args(args);
        Report::of(&Run::of(&mut command).expect(0)).attempts
    };
    let mut attempts_of_all = Vec::new();
    // All in each round: none of them meets a faster or slower machine than the others.
    for _ in 0..bench.rounds {
        attempts_of_all.extend(attempts(3, &[]));
        if !bench.quick {
            attempts_of_all.extend(attempts(3, &["--", "--ignored"]));
        }
    }
    let wall = |test: &str| {
        let attempts = attempts_of_all.iter().filter(|attempt| attempt.text("test") == test);
        let times = attempts.map(|attempt| attempt.0["wall_ms"].as_f64().expect("a number") / 1e3);
        median(&times.collect::<Vec<_>>())
    };
    let start = wall("nothing");
    let row = |(unit, tests): &(&str, [(&str, f64); 3])| {
        let costs = tests.map(|(test, count)| (test, (wall(test) - start) / count));
        let costs: Vec<_> = costs.into_iter().filter(|(_, cost)| !cost.is_nan()).collect();
        let most = costs.iter().map(|(_, cost)| *cost).fold(f64::NEG_INFINITY, f64::max);
        let least = costs.iter().map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min);
        let each: Vec<_> = costs.iter().map(|(test, cost)| format!("`{test}` {}", seconds(*cost))).collect();
        Row {
            work: format!("the most that a {unit} costs to the least"),
            goal: Goal::AtMost(1.3),
            unit: Unit::Ratio,
            samples: Ok(vec![most / least]),
            note: format!("each: {}", each.join(", ")),
        }
    };
    UNITS.iter().map(row).collect()
}
