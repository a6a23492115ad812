//! The options of `run`, and those that it shares with `exec`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{ArgAction, Args};
use rrtest_engine::record::{AskedFault, Processor, Time};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::Surprises;

use super::values::{Explain, NeverRan, Report, drawn, parse_explain, parse_size};
use crate::attempt::seed::Seed;
use crate::base::words::parse_duration;
use crate::build::instrument::Level;
use crate::build::jobs::Jobs;
use crate::build::selection::Selection;
use crate::discover::filterset::Filterset;
use crate::discover::partition::{Part, Partition};
use crate::discover::secrets::Secrets;
use crate::ending::explanation::Explanation;
use crate::store::attached::{Attached, WithSources};
use crate::store::traces::Keep;

/// Options of `run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Run only tests containing this string in their names
    #[arg(value_name = "TESTNAME")]
    pub(crate) name: Option<String>,

    /// Use this profile of .config/rrtest.toml [env: RRTEST_PROFILE=]
    #[arg(short = 'P', long, value_name = "NAME", help_heading = "Attempts")]
    pub(crate) profile_rrtest: Option<String>,
    /// Repeat until a test fails
    #[arg(long, help_heading = "Attempts")]
    pub(crate) until_fail: bool,
    /// Attempts of each test [default: 1, or no limit with --until-fail or --for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Attempts")]
    pub(crate) runs: Option<u64>,
    /// Time for all attempts, such as 90s or 10m
    #[arg(id = "for", long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Attempts")]
    pub(crate) time: Option<Duration>,
    /// Time for everything, from the start of the command: the build counts
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Attempts")]
    pub(crate) deadline: Option<Duration>,
    /// With --until-fail: continue after a failure, and keep one trace of each distinct failure. Without it, nothing
    /// ends the run early
    #[arg(long, visible_alias = "keep-going", help_heading = "Attempts")]
    pub(crate) no_fail_fast: bool,
    /// Attempts side by side, each with its own core while there are enough [default: as -j says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Attempts")]
    side_by_side: Option<Jobs>,
    /// Build jobs, as with cargo, and attempts, side by side [default: all cores]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Attempts")]
    jobs: Option<Jobs>,
    /// Make this machine's part of the attempts, such as 1/4: each machine is given another part, and the same --seed
    #[arg(long, value_name = "M/N", help_heading = "Attempts")]
    pub(crate) shard: Option<Part>,
    /// What becomes of the run if some tests had no attempt: pass, warn, fail (exit code 5), auto (fail if CI is set)
    #[arg(
        long,
        value_enum,
        value_name = "ACTION",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Attempts"
    )]
    pub(crate) never_ran: NeverRan,

    /// Run only tests that this expression in nextest's language accepts (may be given several times: any will do)
    #[arg(
        short = 'E',
        long = "filterset",
        alias = "filter-expr",
        value_name = "EXPRESSION",
        help_heading = "Test selection"
    )]
    pub(crate) filtersets: Vec<Filterset>,
    /// Run only this machine's tests, divided as nextest divides them: hash:M/N, slice:M/N
    #[arg(long, value_name = "PARTITION", help_heading = "Test selection")]
    pub(crate) partition: Option<Partition>,

    /// Where a thread may be preempted [default: sync; for many attempts, memory as well]
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Recording")]
    pub(crate) preempt: Option<Level>,
    #[command(flatten)]
    pub(crate) recording: Recording,
    #[arg(
        long,
        help = format!(
            "Scheduling strategies of chaos: {}; several take turns [default: a portfolio]. systematic tries all \
             schedules with few preemptions until one fails",
            drawn()
        ),
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
    /// Find out what a failure needs after it has been reported, in so much time; never [default: 5s, or a tenth of --for]
    #[arg(long, value_name = "DURATION|never", value_parser = parse_explain, help_heading = "Recording")]
    explain: Option<Explain>,
    /// Keep the first trace of a failure, too, once there is one of its smallest schedule
    #[arg(long, help_heading = "Recording")]
    pub(crate) keep_original: bool,
    /// Run all tests of a binary in one process, with its threads, as cargo test does
    #[arg(long, help_heading = "Recording")]
    pub(crate) together: bool,

    /// Report format: human, short (compiler messages of one line), json (one object per line on standard output)
    #[arg(long, value_name = "FORMAT", help_heading = "Report")]
    pub(crate) message_format: Option<Report>,
    /// Also write a JUnit report to this file
    #[arg(long, value_name = "PATH", help_heading = "Report")]
    pub(crate) junit: Option<PathBuf>,
    /// Show passed attempts too; twice (-vv), also cargo's output
    #[arg(short, long, action = ArgAction::Count, help_heading = "Report")]
    pub(crate) verbose: u8,
    /// Report failures only
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Report")]
    pub(crate) quiet: bool,

    /// The failure that is tried again.
    #[arg(skip)]
    pub(crate) verify: Option<Arc<Explanation>>,

    #[command(flatten)]
    selection: Selection,
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
            // Shards have a seed in common, and look for failures all the same.
            && (self.recording.seed.is_none() || self.shard.is_some())
            && !self.no_chaos
    }

    /// How many preemptions schedules have at most, if all of those are to be gone through: then it is that alone.
    pub(crate) fn bound(&self) -> Option<usize> {
        self.strategy.contains(&StrategyName::Systematic).then_some(self.bound.into())
    }

    /// In how much time it is to be found out what failures need; none: it is not.
    pub(crate) fn explain(&self) -> Option<Duration> {
        Explain::time(self.explain, self.time)
    }

    /// The form of the report.
    pub(crate) fn report(&self) -> Report {
        self.message_format.unwrap_or_default()
    }

    /// How many attempts are made side by side where there are so many cores. `threads` is what libtest is told.
    pub(crate) fn slots(&self, threads: Option<u16>, cores: usize) -> usize {
        let threads = || threads.filter(|_| !self.together).map(Jobs::Exactly);
        self.side_by_side.or_else(threads).or(self.jobs).map_or(cores, |jobs| jobs.on(cores))
    }

    /// What to build.
    pub(crate) fn selection(&self) -> Selection {
        let mut selection = self.selection.clone();
        selection.build_jobs = selection.build_jobs.or(self.jobs);
        selection
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
    /// Rare but legal events to inject: order, spurious, short, yield, early, late, stall, slow, date, uptime, cores,
    /// dir-order, port-reuse, placement; on request only: interrupt, year, clock-step, coarse-clock, tz, coarse-mtime,
    /// enospc, emfile, eintr, econnreset, dns; no-early leaves early out of the usual ones, usual,tz adds tz to them
    /// [default: the usual ones under chaos, else none]
    #[arg(long, value_name = "usual|all|none|LIST", help_heading = "Recording")]
    pub(crate) surprises: Option<Surprises>,
    /// Make the N-th system call of a kind fail in each attempt, or any one from N to M: write:ENOSPC@3,
    /// open:EMFILE@1..20
    #[arg(long = "fault", value_name = "CALL:ERROR@N[..M]", help_heading = "Recording")]
    pub(crate) faults: Vec<AskedFault>,
    /// Give the program these variables of the environment though they look like secrets
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Recording")]
    pub(crate) pass_env: Vec<String>,
    /// Keep these from the program as well, with * for any characters
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = "Recording")]
    pub(crate) hide_env: Vec<String>,
    /// Which traces to keep
    #[arg(long, value_enum, default_value = "on-failure", value_name = "WHICH", help_heading = "Recording")]
    pub(crate) keep: Keep,
    /// Which sources of the workspace to put into a trace, for debuggers
    #[arg(long, value_enum, default_value = "named", value_name = "WHICH", help_heading = "Recording")]
    with_sources: WithSources,
    /// Leave out of traces what only debuggers need of programs and libraries
    #[arg(long, help_heading = "Recording")]
    no_debug_info: bool,
    /// Keep traces in this directory [default: rrtest/traces in the target directory]
    #[arg(long, value_name = "DIR", help_heading = "Recording")]
    pub(crate) trace_dir: Option<PathBuf>,
    /// Delete the oldest traces there when all together have more bytes than this; the newest of each test stays
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "2GB", help_heading = "Recording")]
    pub(crate) trace_limit: u64,
}

impl Recording {
    /// The seed of the only attempt, with one of these strategies (empty: any).
    pub(crate) fn only_seed(&self, strategies: &[StrategyName]) -> Seed {
        self.seed.unwrap_or_else(|| Seed::arbitrary(strategies, true))
    }

    /// What the program does not get of the environment.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::new(&self.pass_env, &self.hide_env)
    }

    /// What is attached to traces; `root` is the workspace.
    pub(crate) fn attached(&self, root: PathBuf) -> Attached {
        Attached {
            debug_info: !self.no_debug_info,
            sources: self.with_sources,
            root,
            one_by_one: Mutex::default(),
        }
    }
}
