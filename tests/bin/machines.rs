//! Replays traces on other machines, and records others there: other processors, kernels and distributions.
//!
//! ```text
//! cargo run -p rrtest-tests --bin machines -- emulate [--all] [--machine RELEASE/PROCESSOR]... [SAMPLE]...
//! cargo run -p rrtest-tests --bin machines -- record DIR [SAMPLE]...     and, on another machine, with that directory:
//! cargo run -p rrtest-tests --bin machines -- replay DIR
//! ```
//!
//! The disks of emulated machines are kept in `target/machines`. Making them takes root, and a Debian mirror.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser};
use rrtest_tests::Harness;
use rrtest_tests::machines::{self, Disks, Machine, Sample, Table};
use rrtest_tests::tool::Tool;

/// Replay traces on other machines
#[derive(Parser)]
enum Command {
    /// Records here, and replays on machines that QEMU emulates; and the other way round
    Emulate(Emulate),
    /// Records here
    Record {
        /// Where the traces go
        dir: PathBuf,
        /// Only samples with one of these in their names [default: all]
        samples: Vec<String>,
    },
    /// Replays here what has been recorded elsewhere
    Replay {
        /// Where the traces are
        dir: PathBuf,
    },
}

#[derive(Args)]
struct Emulate {
    /// Only samples with one of these in their names [default: all]
    samples: Vec<String>,
    /// Only this machine [default: one of each release and each processor]
    #[arg(long = "machine", value_name = "RELEASE/PROCESSOR")]
    machines: Vec<Machine>,
    /// All releases with all processors
    #[arg(long, conflicts_with = "machines")]
    all: bool,
    /// Replay there what is in this directory, recorded earlier
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Do not record there
    #[arg(long)]
    replay_only: bool,
    /// The static cargo-rrtest for the machines [default: built by .ci/static]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("machines");
    std::fs::create_dir_all(&target)?;
    let wrong = match Command::parse() {
        Command::Emulate(options) => emulate(&options, &target)?,
        Command::Record { dir, samples } => {
            let world = Harness::with(Tool::build(), &target);
            machines::record(&world, &dir, &samples)?;
            world.skipped()
        }
        Command::Replay { dir } => {
            let samples = machines::read(&dir)?;
            let mut table = table(&samples);
            table.add("here".to_owned(), machines::replay_here(&Tool::build().path, &samples)?);
            println!("{table}");
            table.wrong()
        }
    };
    for what in &wrong {
        println!("{what}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(samples: &[Sample]) -> Table {
    Table::new(samples.iter().map(|sample| sample.name.clone()).collect())
}

/// Returns all that is not as it should be.
fn emulate(options: &Emulate, target: &Path) -> Result<Vec<String>> {
    let disks = Disks::new(target)?;
    let program = match &options.program {
        Some(program) => program.canonicalize()?,
        None => machines::static_program()?,
    };
    let chosen = match &options.machines[..] {
        [] if options.all => machines::all(),
        [] => machines::some(),
        chosen => chosen.to_vec(),
    };
    let results = tempfile::Builder::new().prefix("results-").tempdir_in(target)?.keep();
    println!("results are in {}", results.display());
    let traces = match &options.traces {
        Some(dir) => dir.clone(),
        None => {
            let traces = results.join("traces");
            let world = Harness::with(Tool::build(), target);
            machines::record(&world, &traces, &options.samples)?;
            world.skipped().iter().for_each(|what| println!("{what}"));
            traces
        }
    };
    let samples = machines::read(&traces)?;
    let mut table = table(&samples);
    for machine in &chosen {
        let verdicts = machines::replay_there(&disks, machine, &program, &samples, &results)?;
        table.add(machine.to_string(), verdicts);
        println!("{table}");
    }
    let mut wrong = table.wrong();
    for machine in chosen.iter().filter(|_| !options.replay_only) {
        let table = machines::record_there(&disks, machine, &program, &results)?;
        println!("{table}");
        wrong.extend(table.wrong());
    }
    Ok(wrong)
}
