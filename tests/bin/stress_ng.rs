//! Records and replays the stressors of stress-ng, and compares what comes of each with `stress_ng.toml`.
//!
//! ```text
//! cargo build --release && cargo run --release -p rrtest-tests --bin stress-ng [-- [--write] [NAME]...]
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rrtest_tests::stress_ng::{self, Stand, Status, Table};

/// Record the stressors of stress-ng and replay the traces
#[derive(Parser)]
struct Options {
    /// Only these stressors [default: all that the table has, or, with --measure, that there are]
    names: Vec<String>,
    /// Write what comes of them to the table
    #[arg(long)]
    write: bool,
    /// Run them by themselves only, and write to the table which run, with how many operations
    #[arg(long, conflicts_with = "write")]
    measure: bool,
    /// The cargo-rrtest program [default: the one built beside this program]
    #[arg(long, value_name = "PATH")]
    tool: Option<PathBuf>,
    /// Seconds that a recording or a replay may take
    #[arg(long, value_name = "N", default_value = "60")]
    limit: u64,
    /// How to record: options of `cargo rrtest exec`
    #[arg(last = true)]
    way: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let tool = match &options.tool {
        Some(tool) => tool.clone(),
        None => std::env::current_exe()?.with_file_name("cargo-rrtest"),
    };
    let tool = tool.canonicalize().with_context(|| format!("no {}", tool.display()))?;
    let version = stress_ng::version().context("no stress-ng; the Debian package has its name")?;
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/stress_ng.toml"));
    let mut table: Table = toml::from_str(&std::fs::read_to_string(path)?)?;
    let mut stand = Stand::new(&tool, &options.way, Duration::from_secs(options.limit))?;
    let all: Vec<String> =
        if options.measure { stress_ng::names()? } else { table.stressors.keys().cloned().collect() };

    let mut surprises = 0;
    for name in all.iter().filter(|name| options.names.is_empty() || options.names.contains(name)) {
        let found = if options.measure {
            stand.measure(name)?
        } else {
            let expected = &table.stressors[name];
            if expected.status == Status::NotHere && options.names.is_empty() {
                continue;
            }
            let found = stand.try_out(name, expected.ops)?;
            surprises += usize::from(found.status != expected.status);
            found
        };
        println!("{name} {} {} {}", found.ops, found.status.name(), found.note);
        table.stressors.insert(name.clone(), found);
        // At once: a run takes long, and may be interrupted.
        if options.write || options.measure {
            table.version.clone_from(&version);
            std::fs::write(path, table.text())?;
        }
    }
    let counts = [Status::Ok, Status::Unsupported, Status::Refused, Status::Wrong, Status::Untried];
    let counts = counts.map(|status| format!("{} {}", table.count(status), status.name()));
    println!("{}, {surprises} other than in the table", counts.join(", "));
    let good = options.write || options.measure || surprises == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
