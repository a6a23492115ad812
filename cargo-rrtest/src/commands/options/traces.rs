//! The options of the commands on kept traces.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rrtest_engine::timeline::Moment;

use super::event_range::EventRange;
use super::values::MessageFormat;
use crate::base::words::parse_duration;
use crate::build::selection::Selection;

/// What the help of `replay` says at its end.
pub(crate) const REPLAY_HELP: &str = "\
Exit codes: 0 the replay was faithful (with --until: as far as it went), 3 it
diverged, 2 wrong arguments or no such event or panic, 70 it failed.";

/// What the help of `backtrace` says at its end.
pub(crate) const BACKTRACE_HELP: &str = "\
A program fails at the panic that made it fail, at the signal that killed it, or
else where it ended: of a deadlock and a test that hung, all threads are shown.
Names, lines and sources come from the trace alone.

Exit codes: 0 the stacks are shown, 3 the replay diverged, 2 wrong arguments or
no such event, 70 it failed.";

/// What the help of `pin` says at its end.
pub(crate) const PIN_HELP: &str = "\
The file is rrtest-pins/NAME.toml beside the package's Cargo.toml, to be
committed. The trace must say what its failure needs: `cargo rrtest --until-fail`
finds that out, for longer with --explain 20s.

Exit codes: 0 there is such a file, 2 wrong arguments or a trace that cannot be
pinned, 3 its replay diverged, 70 it failed.";

/// What the help of `debug` says at its end.
pub(crate) const DEBUG_HELP: &str = "\
Beside gdb's own commands, reverse-continue and the like among them, there are
when, seek, checkpoint, restart, events, schedule, waits, explanation and ps:
`help when` and so on.

Exit codes: gdb's own, 2 wrong arguments, 3 the replay diverged, 70 the recorder
failed.";

/// Where traces are.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The directory of kept traces [default: rrtest/traces in the target directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) trace_dir: Option<PathBuf>,
    /// Path to Cargo.toml
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Cargo's target directory
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

impl Place {
    /// The same as options of `run`.
    pub(crate) fn options(&self) -> Vec<OsString> {
        let all = [
            ("--trace-dir", &self.trace_dir),
            ("--manifest-path", &self.manifest_path),
            ("--target-dir", &self.target_dir),
        ];
        let given = all.into_iter().filter_map(|(option, path)| Some([option.into(), path.clone()?.into()]));
        given.flatten().collect()
    }

    /// The project that is meant.
    pub(crate) fn selection(&self) -> Selection {
        Selection::of_project(self.manifest_path.clone(), self.target_dir.clone())
    }
}

/// How a command is given a trace.
#[derive(Args, Debug)]
pub(crate) struct OneTrace {
    /// A path, a unique part of a kept trace's name, or nothing for the newest; also a folder, a zip file as CI systems hand
    /// out, `-` for standard input, or gh:OWNER/REPO/RUN[/ARTIFACT] for a run of GitHub Actions
    #[arg(value_name = "TRACE")]
    pub(crate) trace: Option<String>,
    /// Which one, if there are several traces in it: a part of its name
    #[arg(value_name = "NAME", requires = "trace")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Options of `replay`.
#[derive(Args, Debug)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// Replay up to there only, and say where the program stands: the number of an event, or `panic` for the panic that
    /// made it fail
    #[arg(long, value_name = "EVENT|panic", value_parser = Until::parse)]
    pub(crate) until: Option<Until>,
}

/// How far to replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until so many events have been carried out.
    Event(u64),
    /// Until the panic that made the program fail.
    Panic,
}

impl Until {
    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("panic") {
            return Ok(Self::Panic);
        }
        text.parse()
            .map(Self::Event)
            .map_err(|_| "the number of an event, or `panic`, is expected".to_owned())
    }
}

/// Options of `backtrace`.
#[derive(Args, Debug)]
pub(crate) struct Backtrace {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// Show all threads, and what each waits for
    #[arg(long)]
    pub(crate) all: bool,
    /// Show every frame, those of libraries too
    #[arg(long)]
    pub(crate) full: bool,
    /// When so many events have been carried out, instead of where it fails
    #[arg(long, value_name = "EVENT")]
    pub(crate) at: Option<u64>,
    /// Format: human, or json for one object
    #[arg(
        long,
        visible_alias = "format",
        value_enum,
        default_value = "human",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) message_format: MessageFormat,
}

/// Options of `show`.
#[derive(Args, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// List what the trace discloses instead: names of variables, files, addresses, users, programs
    #[arg(long)]
    pub(crate) privacy: bool,
    /// List the recorded events instead, a line each, all or those numbered from FROM up to, but not including, TO
    #[arg(
        long,
        conflicts_with = "privacy",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_name = "FROM..TO",
    )]
    pub(crate) events: Option<EventRange>,
    /// Format of the list of --privacy: human, or json for one object
    #[arg(
        long,
        requires = "privacy",
        value_enum,
        default_value = "human",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) message_format: MessageFormat,
}

/// Options of `verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// Time for all attempts
    #[arg(id = "for", long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub(crate) time: Duration,
}

/// Options of `debug`.
#[derive(Args, Debug)]
pub(crate) struct Debug {
    #[command(flatten)]
    pub(crate) trace: OneTrace,
    /// Begin at a moment, EVENT[.TICKS[.INSTRUCTIONS]], instead of at the failure
    #[arg(long, value_name = "MOMENT")]
    pub(crate) at: Option<Moment>,
    /// Debug the process of this number, as `ps` in gdb lists them, instead of the one that fails
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pid: Option<u32>,
    /// The debugger to start [default: rust-gdb, else gdb]
    #[arg(long, value_name = "PROGRAM", conflicts_with = "server")]
    pub(crate) gdb: Option<PathBuf>,
    /// Start lldb, or this program in its place
    #[arg(
        long,
        value_name = "PROGRAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "lldb",
        conflicts_with_all = ["server", "gdb"]
    )]
    pub(crate) lldb: Option<PathBuf>,
    /// Start no debugger: write a launch configuration for Visual Studio Code into .vscode
    #[arg(long, conflicts_with_all = ["server", "gdb", "lldb", "arguments"])]
    pub(crate) vscode: bool,
    /// Start no debugger: serve one at a port of this machine (0: any), or at a Unix socket
    #[arg(long, value_name = "PORT|SOCKET")]
    pub(crate) server: Option<String>,
    /// Arguments for the debugger
    #[arg(last = true, value_name = "ARGS", conflicts_with = "server")]
    pub(crate) arguments: Vec<OsString>,
}

/// Options of `rm`.
#[derive(Args, Debug)]
pub(crate) struct SomeTraces {
    /// Paths, or unique parts of kept traces' names
    #[arg(value_name = "TRACE", required_unless_present = "all")]
    pub(crate) traces: Vec<String>,
    /// All kept traces
    #[arg(long, conflicts_with = "traces")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Options of `pack`.
#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// Paths, or unique parts of kept traces' names, or nothing for the newest
    #[arg(value_name = "TRACE")]
    pub(crate) traces: Vec<String>,
    /// All kept traces
    #[arg(long, conflicts_with = "traces")]
    pub(crate) all: bool,
    /// Write one trace to this new file, and leave it as it is
    #[arg(short, long, value_name = "FILE", conflicts_with = "all")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Place,
}
