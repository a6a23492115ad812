//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use rrtest_engine::record::{Processor, Time};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::Surprises;

use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::build::selection::Selection;
use crate::discover::secrets::Secrets;
use crate::store::traces::Keep;

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
failed, 4 no test matched, 2 wrong arguments, 3 a replay diverged, 70 the
recorder failed.";

const EXEC_HELP: &str = "\
The program gets standard input and Ctrl-C. Ctrl-C twice within a second ends
the recorder, as SIGTERM does: the trace then holds what was recorded so far,
not verified.

Exit codes: the program's own, 128+N if signal N killed it, 101 if it deadlocked
or hung, 2 wrong arguments, 70 the recorder failed.";

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
}

impl Cli {
    /// Reads the arguments that follow our name. The global option may also stand in front of a command, where clap takes it
    /// for one of `run`, and the command for the name of a test: it is moved behind the command.
    pub(crate) fn read(mut args: Vec<OsString>) -> Result<Self, clap::Error> {
        let words = match args.first().and_then(|first| first.to_str()) {
            Some("--color") => 2,
            Some(first) if first.starts_with("--color=") => 1,
            _ => 0,
        };
        let is_command = |word: &OsString| Self::command().find_subcommand(word).is_some();
        if words > 0 && args.get(words).is_some_and(is_command) {
            args[..=words].rotate_right(1);
        }
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
    Replay(OneTrace),
    /// List kept traces, the newest first
    Ls(Place),
    /// Describe a trace: test, outcome, seed, program, counts, ending
    Show(Show),
    /// Delete kept traces
    Rm(SomeTraces),
    /// Make traces stand alone that have contents in common with others
    Pack(Pack),
    /// Record one run of any program
    #[command(after_help = EXEC_HELP, override_usage = "cargo rrtest exec [OPTIONS] -- PROGRAM [ARGS]")]
    Exec(Exec),
    /// Check what this machine offers, and what follows from it
    Doctor(Doctor),
}

/// Options of `run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Run only tests containing this string in their names
    #[arg(value_name = "TESTNAME")]
    pub(crate) name: Option<String>,

    /// Repeat until a test fails
    #[arg(long, help_heading = "Attempts")]
    pub(crate) until_fail: bool,
    /// Attempts of each test [default: 1, or no limit with --until-fail or --for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Attempts")]
    pub(crate) runs: Option<u64>,
    /// Time for all attempts, such as 90s or 10m
    #[arg(id = "for", long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Attempts")]
    pub(crate) time: Option<Duration>,
    /// With --until-fail: continue after a failure, and keep one trace of each distinct failure
    #[arg(long, requires = "until_fail", help_heading = "Attempts")]
    pub(crate) keep_going: bool,
    /// Attempts side by side, each with its own core while there are enough [default: all cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Attempts")]
    pub(crate) jobs: Option<u16>,

    /// Where a thread may be preempted [default: sync; for many attempts, memory as well]
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Recording")]
    pub(crate) preempt: Option<Level>,
    #[command(flatten)]
    pub(crate) recording: Recording,
    /// Scheduling strategies of chaos: surw, pos, walk, pct, starve, fair; several take turns [default: a portfolio].
    /// systematic tries all schedules with few preemptions until one fails
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        conflicts_with = "no_chaos",
        help_heading = "Recording"
    )]
    strategy: Vec<StrategyName>,
    /// With --strategy systematic: the most preemptions in a schedule, 0 to 4
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u8).range(0..=4),
        help_heading = "Recording"
    )]
    bound: u8,
    /// Record under a plain fair schedule
    #[arg(long, help_heading = "Recording")]
    no_chaos: bool,
    /// An attempt that runs longer counts as hung, and its trace is kept [default: far beyond the test's usual time; 60s
    /// while that is unknown]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Recording")]
    pub(crate) timeout: Option<Duration>,
    /// Run all tests of a binary in one process, with its threads, as cargo test does
    #[arg(long, help_heading = "Recording")]
    pub(crate) together: bool,

    /// Report format; json: one object per line on standard output
    #[arg(long, value_enum, default_value = "human", value_name = "FORMAT", help_heading = "Report")]
    pub(crate) message_format: MessageFormat,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "PATH", help_heading = "Report")]
    pub(crate) junit: Option<PathBuf>,
    /// Show passed attempts too; twice (-vv), also cargo's output
    #[arg(short, long, action = ArgAction::Count, help_heading = "Report")]
    pub(crate) verbose: u8,
    /// Report failures only
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Report")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Build the tests but run none
    #[arg(long, help_heading = "Compilation")]
    pub(crate) no_run: bool,

    /// Arguments of the test binary
    #[arg(last = true, value_name = "TEST-BINARY-ARGS")]
    pub(crate) args: Vec<String>,
}

/// For so many attempts of each test it is worth while to build the tests once more.
const MANY: u64 = 50;

impl Run {
    /// Whether attempts with another preemption level are to join those with the default one: where the user wants chaos,
    /// much of it, and has not asked for a particular attempt.
    pub(crate) fn more_levels(&self) -> bool {
        let many = match self.runs {
            Some(runs) => runs >= MANY,
            None => self.until_fail || self.time.is_some(),
        };
        many && self.bound().is_none()
            && self.preempt.is_none()
            && self.recording.seed.is_none()
            && !self.no_chaos
    }

    /// How many preemptions schedules have at most, if all of those are to be gone through: then it is that alone.
    pub(crate) fn bound(&self) -> Option<usize> {
        self.strategy.contains(&StrategyName::Systematic).then_some(self.bound.into())
    }

    /// The strategies that the user has chosen; empty if none.
    pub(crate) fn strategies(&self) -> Vec<StrategyName> {
        if self.no_chaos { vec![StrategyName::Fair] } else { self.strategy.clone() }
    }
}

/// How to record, whatever it is.
#[derive(Args, Debug)]
pub(crate) struct Recording {
    /// Reproduce an attempt's schedule from the seed that its report prints. Later attempts derive their seeds from it
    #[arg(long, value_name = "N", help_heading = "Recording")]
    pub(crate) seed: Option<Seed>,
    /// How time passes. virtual: while all threads only wait for time to pass, time jumps ahead
    #[arg(id = "passing", long = "time", value_name = "real|virtual", default_value = Time::default().as_str(), help_heading = "Recording")]
    pub(crate) time: Time,
    /// The processor that the program sees: a level of x86-64 (v2 without AVX, v3 with AVX2, v4 with AVX-512), or the machine's
    /// own
    #[arg(long, value_name = "v2|v3|v4|native", default_value = Processor::default().as_str(), help_heading = "Recording")]
    pub(crate) cpu: Processor,
    /// Rare but legal events to inject: order, spurious, interrupt, short, yield, early, late, stall, slow; no-early
    /// leaves early out of the defaults [default: all but interrupt under chaos, else none]
    #[arg(long, value_name = "all|none|LIST", help_heading = "Recording")]
    pub(crate) surprises: Option<Surprises>,
    /// Give the program these variables of the environment though they look like secrets
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Recording")]
    pub(crate) pass_env: Vec<String>,
    /// Keep these from the program as well, with * for any characters
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = "Recording")]
    pub(crate) hide_env: Vec<String>,
    /// Which traces to keep
    #[arg(long, value_enum, default_value = "on-failure", value_name = "WHICH", help_heading = "Recording")]
    pub(crate) keep: Keep,
    /// Keep traces in this directory [default: rrtest/traces in the target directory]
    #[arg(long, value_name = "DIR", help_heading = "Recording")]
    pub(crate) trace_dir: Option<PathBuf>,
}

impl Recording {
    /// What the program does not get of the environment.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(&self.pass_env, &self.hide_env)
    }
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
    /// The project that is meant.
    pub(crate) fn selection(&self) -> Selection {
        Selection::of_project(self.manifest_path.clone(), self.target_dir.clone())
    }
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

/// Options of `replay`, and how `show` is given a trace.
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

/// A duration as users write it: `90s`, `10m`, `1h 30m`, or a number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "a duration is written like 90s, 10m or 1h 30m".to_owned())?,
    };
    if duration.is_zero() { Err("it must be longer than zero".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rrtest_engine::schedule::surprise::Surprise;

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::read(args.split_whitespace().map(Into::into).collect())
    }

    const NONSENSE: &[&str] = &[
        "--runs 0",
        "--for 0s",
        "--for soon",
        "--keep-going",
        "-j 0",
        "--seed x",
        "--bogus",
        "--surprises luck",
        "--strategy luck",
        "--no-chaos --strategy walk",
        "--time flies",
        "--preempt never",
        "exec",
        "exec --chaos --no-chaos -- true",
        "rm",
        "rm --all some",
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

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("-5s").is_err());
    }
}
