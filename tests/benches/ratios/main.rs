//! What recording costs: ratios to the same test run natively, measured side by side in one run.
//!
//! ```text
//! cargo bench -p rrtest-tests [-- [BENCH]... [--rounds N] [--quick] [--write]]
//! ```
//!
//! A machine that others use too has no speed that could be told: each round measures all sides one after the other,
//! and what counts is the median of the rounds' ratios. Benchmarks, each a file here: see [`BENCHES`].

mod attempts;
mod fixture;
mod memory;
mod overhead;
mod scaling;
mod start;
mod table;
mod trace_size;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use rrtest_tests::{Harness, facts};

use fixture::Bench;
use table::Row;

/// Measures something.
type Measure = fn(&Bench) -> Vec<Row>;

/// All benchmarks.
const BENCHES: &[(&str, Measure)] = &[
    ("overhead", overhead::rows),
    ("attempts", attempts::rows),
    ("start", start::rows),
    ("memory", memory::rows),
    ("trace-size", trace_size::rows),
    ("scaling", scaling::rows),
];

/// Measure what recording costs
#[derive(Parser)]
struct Options {
    /// Only these benchmarks: overhead, attempts, start, memory, trace-size, scaling
    #[arg(value_parser = known)]
    names: Vec<String>,
    /// Rounds of each
    #[arg(long, value_name = "N", default_value = "9", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One round of each, the long parts left out: to see that they work
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Also write the table to `benches/results`, in a file named after the day
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// Cargo passes it to all benchmarks
    #[arg(long, hide = true)]
    bench: bool,
}

fn known(name: &str) -> Result<String, String> {
    match BENCHES.iter().any(|(bench, _)| *bench == name) {
        true => Ok(name.to_owned()),
        false => Err("no such benchmark".to_owned()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let facts = facts::lines();
    let rounds = if options.quick { 1 } else { options.rounds };
    let world = Harness::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let bench = Bench { world, rounds, quick: options.quick };
    let chosen = BENCHES
        .iter()
        .filter(|(name, _)| options.names.is_empty() || options.names.iter().any(|chosen| chosen == name));
    let mut rows = Vec::new();
    for (name, measure) in chosen {
        eprintln!("measuring {name} …");
        rows.extend(measure(&bench));
    }
    let report = format!("{facts}- {rounds} rounds\n\n{}", table::render(&rows));
    print!("{report}");
    if options.write {
        facts::keep("What recording costs", "", &report);
    }
    ExitCode::SUCCESS
}
