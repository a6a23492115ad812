//! Records the programs of `programs.toml`, compares their output with what they print by themselves, and replays
//! them.
//!
//! ```text
//! cargo build --release && cargo run --release -p rrtest-tests --bin programs [-- [NAME]...] [-- EXEC-OPTIONS]
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rrtest_tests::faithful::Verdict;
use rrtest_tests::programs;

/// Record programs and replay the traces
#[derive(Parser)]
struct Options {
    /// Only these programs [default: all]
    names: Vec<String>,
    /// Run the programs by themselves only
    #[arg(long)]
    native_only: bool,
    /// The cargo-rrtest program [default: the one built beside this program]
    #[arg(long, value_name = "PATH")]
    tool: Option<PathBuf>,
    /// Seconds that a recording or a replay may take
    #[arg(long, value_name = "N", default_value = "120")]
    limit: u64,
    /// How to record: options of `cargo rrtest exec`
    #[arg(last = true)]
    way: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let tool = match options.tool {
        Some(tool) => tool,
        None => std::env::current_exe()?.with_file_name("cargo-rrtest"),
    };
    let tool = tool.canonicalize().with_context(|| format!("no {}", tool.display()))?;
    let limit = Duration::from_secs(options.limit);
    let programs = programs::all();
    if let Some(name) =
        options.names.iter().find(|name| programs.iter().all(|program| program.name != **name))
    {
        bail!("{name} is not in programs.toml");
    }

    let mut good = true;
    println!("| program | by itself | recorded | replayed | |");
    println!("|---|---:|---:|---:|---|");
    for program in programs {
        let name = &program.name;
        if !options.names.is_empty() && !options.names.contains(name) {
            continue;
        }
        if let Some(missing) = program.missing() {
            println!("| {name} | | | | skipped: {missing} |");
            continue;
        }
        if options.native_only {
            let done = program.native(&tool, limit).with_context(|| name.clone())?;
            let output = String::from_utf8_lossy(&done.stdout).replace('\n', " ⏎ ");
            println!("| {name} | {:.2?} | | | exit code {:?}: {output} |", done.wall, done.code);
            continue;
        }
        let (native, verdict) = program.try_out(&tool, &options.way, limit).with_context(|| name.clone())?;
        good &= matches!(verdict, Verdict::Faithful(..));
        match verdict {
            Verdict::Faithful(record, replay) => {
                println!("| {name} | {:.2?} | {record:.2?} | {replay:.2?} | faithful |", native.wall);
            }
            Verdict::Unsupported(what) => {
                println!("| {name} | {:.2?} | | | unsupported: {what} |", native.wall)
            }
            Verdict::Otherwise(code, what) => {
                let last = what.lines().last().unwrap_or_default();
                println!("| {name} | {:.2?} | | | wrong: exit code {code}: {last} |", native.wall);
            }
            Verdict::Wrong(what) => println!("| {name} | {:.2?} | | | wrong: {what} |", native.wall),
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
