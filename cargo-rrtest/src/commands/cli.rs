//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand};

use super::exec::options::Exec;
use super::options::report::{self, FailureReport};
use super::options::run::Run;
use super::options::traces::{
    BACKTRACE_HELP, Backtrace, DEBUG_HELP, Debug, OneTrace, PIN_HELP, Pack, Place, REPLAY_HELP, Replay, Show,
    SomeTraces, Verify,
};
use super::options::values::Report;
use crate::build::instrument::Level;
use crate::settings::layers::Settings;

/// As cargo styles its help.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().bold())
    .usage(AnsiColor::BrightGreen.on_default().bold())
    .literal(AnsiColor::BrightCyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Arguments after `--` are libtest's: more test names, --exact, --skip NAME,
--ignored, --include-ignored. Doctests are not recorded: `cargo test --doc`.

Exit codes: 0 nothing failed, 101 a test failed or never ended or the build
failed, 5 some tests never ran, 4 no test matched, 2 wrong arguments, 3 a replay
diverged, 70 the recorder failed.";

/// Options of `cargo test` that have no place here, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("--doc", "doctests have no program that could be recorded: run them by `cargo test --doc`"),
    ("--unit-graph", "cargo prints its graph of units by `cargo test --unit-graph`"),
];

const EXEC_HELP: &str = "\
A single run gets standard input and Ctrl-C. Ctrl-C twice within a second ends
the recorder, as SIGTERM does: the trace then holds what was recorded so far,
not verified.

Exit codes of a single run: the program's own, 128+N if signal N killed it, 101
if it deadlocked or hung. Of several: 0 all passed, 101 one failed, 5 there was no
time for any, 130 interrupted. Of both: 2 wrong arguments, 70 the recorder failed.";

/// Catch flaky tests: `cargo test` with a recorder
///
/// Builds the tests, records each in a process of its own under chaos scheduling, and keeps the trace of a failing
/// attempt, which `cargo rrtest replay` reproduces exactly.
#[derive(Parser, Debug)]
#[command(
    name = "cargo-rrtest",
    bin_name = "cargo rrtest",
    version,
    styles = STYLES,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = AFTER_HELP,
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
    /// When to use colours: auto, always, never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        help_heading = "Report",
        hide_possible_values = true
    )]
    pub(crate) color: Option<ColorChoice>,
    /// What is set elsewhere.
    #[arg(skip)]
    pub(crate) settings: Settings,
}

impl Cli {
    /// The arguments that follow our name, the command first. The global option may also stand in front of a command, where clap takes it
    /// for one of `run`, and the command for the name of a test: it is moved behind the command.
    pub(super) fn in_order(mut args: Vec<OsString>) -> Result<Vec<OsString>, clap::Error> {
        let words = match args.first().and_then(|first| first.to_str()) {
            Some("--color") => 2,
            Some(first) if first.starts_with("--color=") => 1,
            _ => 0,
        };
        let is_command = |word: &OsString| Self::command().find_subcommand(word).is_some();
        if words > 0 && args.get(words).is_some_and(is_command) {
            args[..=words].rotate_right(1);
        }
        let ours = args.iter().take_while(|arg| *arg != "--");
        for (refused, instead) in REFUSED {
            if ours.clone().any(|arg| arg == refused) {
                let message = format!("`{refused}` is not supported: {instead}");
                return Err(Self::command().error(ErrorKind::UnknownArgument, message));
            }
        }
        Ok(args)
    }

    /// Reads arguments that are in order.
    pub(super) fn parse_ordered(args: Vec<OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(std::iter::once("cargo-rrtest".into()).chain(args))
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Build, run and record tests (the default)
    #[command(after_help = AFTER_HELP)]
    Run(Box<Run>),
    /// Reproduce a kept trace: the same output, the same outcome
    #[command(after_help = REPLAY_HELP)]
    Replay(Replay),
    /// Show where the program of a trace fails, by the stacks of its threads
    #[command(after_help = BACKTRACE_HELP)]
    Backtrace(Backtrace),
    /// Debug a kept trace with gdb, at the failure, forwards and backwards
    #[command(after_help = DEBUG_HELP)]
    Debug(Box<Debug>),
    /// Write a failure as one HTML file, for those who cannot replay it, or its schedule for ui.perfetto.dev
    #[command(after_help = report::HELP)]
    Report(FailureReport),
    /// Check whether the failure of a trace still comes about in the code as it is now: in the schedule that it needs,
    /// in those like it, and in others
    Verify(Verify),
    /// Write the schedule that the failure of a trace needs into a small file beside the tests, which each run tries first
    #[command(after_help = PIN_HELP)]
    Pin(OneTrace),
    /// List kept traces, the newest first
    Ls(Place),
    /// Describe a trace: test, outcome, seed, program, counts, ending
    Show(Show),
    /// Delete kept traces
    Rm(SomeTraces),
    /// Make traces stand alone that have contents in common with others
    Pack(Pack),
    /// Say what several runs found together, from what --message-format json wrote
    Merge(Merge),
    /// Record any program: one run, or many until one fails
    #[command(after_help = EXEC_HELP, override_usage = "cargo rrtest exec [OPTIONS] -- PROGRAM [ARGS]")]
    Exec(Exec),
    /// Let another front end build and start the tests, such as nextest: run a command in the environment for that, or
    /// print it for a shell
    Env(Env),
    /// Show each setting with its value and where it comes from
    ShowConfig(Box<Run>),
    /// Check what this machine offers, and what follows from it
    Doctor(Doctor),
}

/// Options of `merge`.
#[derive(Args, Debug)]
pub(crate) struct Merge {
    /// Files that hold the standard output of runs with --message-format json
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Report format: human, or json for one object on standard output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) message_format: Report,
}

/// Options of `env`.
#[derive(Args, Debug)]
pub(crate) struct Env {
    /// Where a thread may be preempted
    #[arg(long, value_enum, default_value = "sync", value_name = "LEVEL")]
    pub(crate) preempt: Level,
    /// Build for this target triple (x86-64 Linux only) [default: the host's]
    #[arg(long, value_name = "TRIPLE")]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    /// The command, such as `cargo nextest run`; none: print the environment
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct Doctor {}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
