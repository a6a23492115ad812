//! Many attempts of a test that does next to nothing.

use std::process::Command;

use rrtest_tests::fixtures;
use rrtest_tests::tool::{Run, cargo, clean};

use crate::fixture::{Bench, parts, ratios};
use crate::table::{Goal, Row, Unit};

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    let native = bench.native("trivial");
    let runs: u32 = if bench.quick { 10 } else { 400 };
    let count = runs.to_string();
    let nextest = nextest(bench, &count);
    let [mut alone, mut one, mut two, mut peer] = [const { Vec::new() }; 4];
    for round in 1..=bench.rounds {
        let all: f64 = (0..runs).map(|_| native.run("two_threads_one_join")).sum();
        alone.push(all / f64::from(runs));
        let seed = round.to_string();
        one.push(bench.record("trivial", &["--runs", &count, "--seed", &seed, "-j1"]));
        two.push(bench.record("trivial", &["--runs", &count, "--seed", &seed, "-j2"]));
        if nextest.is_ok() {
            peer.push(stress(bench, &count) / f64::from(runs));
        }
    }
    let row = |work: &str, goal, samples, note: String| Row {
        work: work.to_owned(),
        goal,
        unit: Unit::Ratio,
        samples,
        note,
    };
    vec![
        row(
            "an attempt of `trivial`, `-j1`, to a native run",
            Goal::AtMost(0.8),
            Ok(ratios(&one, &alone)),
            parts((&one, "attempt"), (&alone, "native")),
        ),
        row(
            "attempts a second of `trivial`, `-j2`, to runs by `cargo nextest`",
            Goal::MoreThan(1.0),
            nextest.map(|()| ratios(&peer, &two)),
            if peer.is_empty() { String::new() } else { parts((&peer, "nextest"), (&two, "attempt")) },
        ),
        row(
            "attempts a second of `trivial`, `-j2` to `-j1`",
            Goal::None,
            Ok(ratios(&one, &two)),
            parts((&one, "`-j1`"), (&two, "`-j2`")),
        ),
    ]
}

fn nextest_command(bench: &Bench, count: &str) -> Command {
    let mut command = Command::new(cargo());
    clean(&mut command);
    command
        .args(["nextest", "run", "-p", "trivial", "--stress-count", count])
        .args(["--status-level", "none", "--final-status-level", "none", "--target-dir"])
        .arg(bench.native_dir())
        .current_dir(fixtures());
    command
}

/// Whether there is a nextest that repeats tests, with everything built.
fn nextest(bench: &Bench, count: &str) -> Result<(), String> {
    let run = Run::of(&mut nextest_command(bench, count));
    match run.status.code() {
        Some(0) => Ok(()),
        _ => {
            Err("no `cargo nextest` with `--stress-count`: `cargo install cargo-nextest --locked`".to_owned())
        }
    }
}

/// The seconds that nextest says a stress run took.
fn stress(bench: &Bench, count: &str) -> f64 {
    let run = Run::of(&mut nextest_command(bench, count)).expect(0);
    // As in `     Summary [   0.442s] 50/50 stress run iterations: 50 passed`.
    let summary = run.stderr.lines().find_map(|line| line.trim_start().strip_prefix("Summary ["));
    let time = summary.and_then(|rest| rest.split_once("s]")?.0.trim().parse().ok());
    time.unwrap_or_else(|| panic!("no summary: {run}"))
}
