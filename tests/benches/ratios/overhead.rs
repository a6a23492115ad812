//! Tests that do a lot of one thing: native, recorded, replayed.

use crate::fixture::{Bench, Native, parts, ratios};
use crate::table::{Goal, Row, Unit};

/// A test, and what it may cost.
struct Workload {
    package: &'static str,
    test: &'static str,
    /// How it runs natively.
    native: (&'static str, fn(&Native, &str) -> f64),
    plain: Goal,
    chaos: Goal,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        package: "cpu",
        test: "sort_hash_multiply",
        native: ("native", Native::run),
        plain: Goal::AtMost(1.1),
        chaos: Goal::AtMost(1.1),
    },
    Workload {
        package: "writes",
        test: "a_hundred_thousand_entries",
        native: ("native", Native::run),
        plain: Goal::AtMost(2.0),
        chaos: Goal::AtMost(2.0),
    },
    Workload {
        package: "messages",
        test: "a_hundred_thousand_messages",
        native: ("native on one core", Native::run_on_one_core),
        plain: Goal::AtMost(1.5),
        chaos: Goal::None,
    },
];

pub(crate) fn rows(bench: &Bench) -> Vec<Row> {
    WORKLOADS.iter().flat_map(|workload| measure(bench, workload)).collect()
}

fn measure(bench: &Bench, workload: &Workload) -> [Row; 4] {
    let Workload { package, test, native: (how, run), .. } = workload;
    let binary = bench.native(package);
    let dir = bench.world.dir();
    let trace = bench.trace(package, &["--no-chaos"], dir.path());
    let [mut native, mut plain, mut command, mut chaos, mut replayed] = [const { Vec::new() }; 5];
    // What is over in a moment is measured more often, each time beside the others. A second is not long, either, on
    // a machine whose speed changes by a third from one to the next.
    let often = if bench.quick { 1.0 } else { (2.4 / run(&binary, test)).clamp(1.0, 8.0) };
    for round in 1..=bench.rounds * often as u32 {
        native.push(run(&binary, test));
        let (attempt, whole) = bench.record_command(package, &["-j1", "--no-chaos"]);
        plain.push(attempt);
        command.push(whole);
        // The same schedules in every run, and strategies in turn.
        chaos.push(bench.record(package, &["-j1", "--seed", &round.to_string()]));
        replayed.push(bench.replay(&trace));
    }
    let row = |what: &str, goal, ours: (&[f64], &str), theirs: (&[f64], &str)| Row {
        work: format!("`{package}` {what}"),
        goal,
        unit: Unit::Ratio,
        samples: Ok(ratios(ours.0, theirs.0)),
        note: parts(ours, theirs),
    };
    [
        row("recorded, plain", workload.plain, (&plain, "recorded"), (&native, *how)),
        row("recorded, chaos", workload.chaos, (&chaos, "recorded"), (&native, *how)),
        row("replayed", Goal::AtMost(1.0), (&replayed, "replayed"), (&plain, "recorded")),
        // The row above has the start and the end of `cargo rrtest` on one side only.
        row(
            "replayed, command to command",
            Goal::AtMost(1.0),
            (&replayed, "replay"),
            (&command, "recording command"),
        ),
    ]
}
