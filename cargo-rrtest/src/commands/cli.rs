//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::error::ErrorKind;
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::timeline::Moment;

use super::options::report::{self, FailureReport};
use super::options::run::{Recording, Run};
use super::options::values::Report;
use crate::base::words::parse_duration;
use crate::build::instrument::Level;
use crate::build::selection::Selection;
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
The program gets standard input and Ctrl-C. Ctrl-C twice within a second ends
the recorder, as SIGTERM does: the trace then holds what was recorded so far,
not verified.

Exit codes: the program's own, 128+N if signal N killed it, 101 if it deadlocked
or hung, 2 wrong arguments, 70 the recorder failed.";

const REPLAY_HELP: &str = "\
Exit codes: 0 the replay was faithful (with --until: as far as it went), 3 it
diverged, 2 wrong arguments or no such event or panic, 70 it failed.";

const BACKTRACE_HELP: &str = "\
A program fails at the panic that made it fail, at the signal that killed it, or
else where it ended: of a deadlock and a test that hung, all threads are shown.
Names, lines and sources come from the trace alone.

Exit codes: 0 the stacks are shown, 3 the replay diverged, 2 wrong arguments or
no such event, 70 it failed.";

const PIN_HELP: &str = "\
The file is rrtest-pins/NAME.toml beside the package's Cargo.toml, to be
committed. The trace must say what its failure needs: `cargo rrtest --until-fail`
finds that out, for longer with --explain 20s.

Exit codes: 0 there is such a file, 2 wrong arguments or a trace that cannot be
pinned, 3 its replay diverged, 70 it failed.";

const DEBUG_HELP: &str = "\
Beside gdb's own commands, reverse-continue and the like among them, there are
when, seek, checkpoint, restart, events and ps: `help when` and so on.

Exit codes: gdb's own, 2 wrong arguments, 3 the replay diverged, 70 the recorder
failed.";

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
    /// Record one run of any program
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

/// Options of `exec`.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) recording: Recording,
    /// Schedule as `run` does, with a portfolio of strategies
    #[arg(long, conflicts_with_all = ["strategy", "no_chaos"], help_heading = "Recording")]
    chaos: bool,
    /// How to schedule: surw, pos, walk, pct, starve, fair [default: fair, or what --seed says]
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        conflicts_with = "no_chaos",
        help_heading = "Recording"
    )]
    strategy: Vec<StrategyName>,
    /// Use a plain fair schedule, even with the --seed of another one
    #[arg(long, help_heading = "Recording")]
    no_chaos: bool,
    /// A run that takes longer counts as hung [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Recording")]
    pub(crate) timeout: Option<Duration>,
    /// Report format; json: one object per line on standard output, the program's output on standard error
    #[arg(long, value_enum, default_value = "human", value_name = "FORMAT", help_heading = "Report")]
    pub(crate) message_format: MessageFormat,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

impl Exec {
    /// The strategies to choose from; empty if any. A seed names its own.
    pub(crate) fn strategies(&self) -> Vec<StrategyName> {
        let any = self.chaos || (self.recording.seed.is_some() && !self.no_chaos);
        if any || !self.strategy.is_empty() { self.strategy.clone() } else { vec![StrategyName::Fair] }
    }
}

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
    /// Format of that list: human, or json for one object
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

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// For people, on standard error
    Human,
    /// For programs, on standard output
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command as Process;

    use rrtest_engine::record::Time;
    use rrtest_engine::schedule::surprise::Surprise;

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::parse_ordered(Cli::in_order(args.split_whitespace().map(Into::into).collect())?)
    }

    const NONSENSE: &[&str] = &[
        "--runs 0",
        "--for 0s",
        "--for soon",
        "-j 0",
        "--seed x",
        "--bogus",
        "--doc",
        "run -p x --unit-graph",
        "--message-format json-render-diagnostics",
        "--message-format jsn",
        "--shard 4",
        "--shard 5/4",
        "--partition 1/4",
        "--never-ran maybe",
        "--trace-limit 5",
        "-E tset(x)",
        "--surprises luck",
        "--strategy luck",
        "--no-chaos --strategy walk",
        "--time flies",
        "--preempt never",
        "exec",
        "exec --chaos --no-chaos -- true",
        "rm",
        "rm --all some",
        "merge",
    ];

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_into_80_columns() {
        let mut commands = vec![Cli::command()];
        commands.extend(Cli::command().get_subcommands().cloned());
        for command in commands {
            let help = command.term_width(80).render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn help() {
        let mut cli = Cli::command();
        // Otherwise commands do not know that they are commands of `cargo rrtest`.
        cli.build();
        let mut commands = vec![cli.clone()];
        commands.extend(cli.get_subcommands().filter(|c| !["run", "help"].contains(&c.get_name())).cloned());
        for command in commands {
            let name = command.get_name().to_owned();
            insta::assert_snapshot!(format!("help-{name}"), command.term_width(80).render_long_help());
        }
    }

    #[test]
    fn errors() {
        let message = |args: &str| {
            let error = parse(args).expect_err(args);
            format!("$ cargo rrtest {args}\n{error}\n")
        };
        let all = NONSENSE.iter().map(|args| message(args));
        insta::assert_snapshot!(all.collect::<String>());
    }

    /// The options that the toolchain's own `cargo test --help` lists.
    fn options_of_cargo_test() -> Vec<String> {
        let help = Process::new(env!("CARGO")).args(["test", "--help"]).output().expect("cargo");
        let help = String::from_utf8(help.stdout).expect("text");
        let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let words = lines.flat_map(|line| line.split("  ").next().unwrap_or_default().split([' ', ',', '.']));
        words.filter(|word| word.starts_with('-')).map(str::to_owned).collect()
    }

    #[test]
    fn every_option_of_cargo_test_is_known_or_refused_in_its_own_words() {
        let options = options_of_cargo_test();
        assert!(options.len() > 30 && options.contains(&"--no-fail-fast".to_owned()), "{options:?}");
        let cli = Cli::command();
        let run = cli.find_subcommand("run").expect("a command").clone();
        let is_known = |option: &str| {
            run.get_arguments().chain(cli.get_arguments()).any(|arg| match option.strip_prefix("--") {
                Some(long) => {
                    arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long))
                        || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
                }
                None => arg.get_short() == option.chars().nth(1),
            })
        };
        for option in options.iter().filter(|option| !["--help", "-h"].contains(&option.as_str())) {
            let refused = REFUSED.iter().any(|(refused, _)| refused == option);
            assert!(is_known(option) != refused, "{option} is to be taken, or refused with what to do");
        }
    }

    #[test]
    fn what_cargo_test_takes_is_taken() {
        for args in [
            "--no-fail-fast",
            "--timings",
            "--timings=html name",
            "--ignore-rust-version",
            "--message-format short",
            "--future-incompat-report",
            "--keep-going --until-fail",
            "-j 3 name",
            "-j default",
            "--jobs=-1",
            "-j -1",
            "--all",
        ] {
            parse(args).unwrap_or_else(|error| panic!("{args}: {error}"));
        }
    }

    #[test]
    fn jobs_are_for_the_build_and_for_attempts() {
        let run = |args: &str| parse(args).expect("arguments").run;
        let both =
            |args: &str| (run(args).selection().build_jobs.map(|jobs| jobs.on(8)), run(args).slots(None, 8));
        assert_eq!(both(""), (None, 8));
        assert_eq!(both("-j3"), (Some(3), 3));
        assert_eq!(both("-j-2"), (Some(6), 6));
        assert_eq!(both("-j3 --build-jobs 5"), (Some(5), 3));
        assert_eq!(both("-j3 --side-by-side 20"), (Some(3), 20));
        assert_eq!(run("-j3").slots(Some(1), 8), 1);
        assert_eq!(run("-j3 --together").slots(Some(1), 8), 3);
    }

    #[test]
    fn run_may_be_omitted() {
        let cli = parse("--until-fail --for 10m some_test -- --exact").expect("arguments");
        assert!(cli.command.is_none() && cli.run.until_fail);
        assert_eq!(cli.run.name.as_deref(), Some("some_test"));
        assert_eq!(cli.run.args, ["--exact"]);
        let cli = parse("run --runs 3 replay").expect("arguments");
        let Some(Command::Run(run)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((run.runs, run.name.as_deref()), (Some(3), Some("replay")));
    }

    #[test]
    fn every_command_takes_the_global_options() {
        for args in [
            "--color never",
            "--color never run",
            "run --color never",
            "replay --color never some",
            "--color never replay some",
            "ls --color never",
            "show --color never",
            "rm --all --color never",
            "exec --color never -- true",
            "doctor --color never",
        ] {
            let cli = parse(args).unwrap_or_else(|error| panic!("{args}: {error}"));
            assert_eq!(cli.color, Some(ColorChoice::Never), "{args}");
        }
    }

    #[test]
    fn levels() {
        let more = |args| parse(args).expect("arguments").run.more_levels();
        assert!(more("--until-fail") && more("--for 1m") && more("--until-fail --runs 500"));
        assert!(!more("") && !more("--runs 5") && !more("--until-fail --seed 1"));
        assert!(!more("--until-fail --preempt sync") && !more("--until-fail --no-chaos"));
    }

    #[test]
    fn strategies() {
        let cli = parse("--strategy pct,fair").expect("arguments");
        assert_eq!(cli.run.strategies(), [StrategyName::Pct, StrategyName::Fair]);
        assert_eq!(parse("--no-chaos").expect("arguments").run.strategies(), [StrategyName::Fair]);
        assert!(parse("--strategy luck").is_err());
        assert!(parse("--no-chaos --strategy walk").is_err());
    }

    #[test]
    fn exec_is_fair_unless_told_otherwise() {
        let strategies = |args: &str| {
            let cli = parse(&format!("exec {args} -- true")).expect("arguments");
            let Some(Command::Exec(exec)) = cli.command else { panic!("{cli:?}") };
            exec.strategies()
        };
        assert_eq!(strategies(""), [StrategyName::Fair]);
        assert_eq!(strategies("--no-chaos --seed 1"), [StrategyName::Fair]);
        assert_eq!(strategies("--strategy walk,pct"), [StrategyName::Walk, StrategyName::Pct]);
        assert_eq!(strategies("--chaos"), []);
        assert_eq!(strategies("--seed 1"), [], "a seed names its strategy");
        assert!(parse("exec --chaos --no-chaos -- true").is_err());
    }

    #[test]
    fn time_and_surprises() {
        let recording = |args: &str| parse(args).expect("arguments").run.recording;
        let default = recording("");
        assert_eq!((default.time, default.surprises), (Time::Real, None));
        let given = recording("--time virtual --surprises early,late");
        let kinds = [Surprise::Early, Surprise::Late].into_iter().collect();
        assert_eq!((given.time, given.surprises), (Time::Virtual, Some(kinds)));
    }
}
