//! The options of `exec`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use rrtest_engine::schedule::StrategyName;

use crate::base::words::parse_duration;
use crate::build::instrument::Level;
use crate::build::jobs::Jobs;
use crate::commands::options::run::Recording;
use crate::commands::options::values::{Explain, MessageFormat, drawn, parse_explain};

/// Options of `exec`.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Repeat until a run fails, under chaos scheduling
    #[arg(long, help_heading = "Attempts")]
    pub(crate) until_fail: bool,
    /// Make so many runs, under chaos scheduling [default: 1, or no limit with --until-fail or --for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Attempts")]
    pub(crate) runs: Option<u64>,
    /// Make runs for this long, such as 90s or 10m, under chaos scheduling
    #[arg(id = "for", long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Attempts")]
    pub(crate) time: Option<Duration>,
    /// Runs side by side [default: all cores]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Attempts")]
    pub(crate) jobs: Option<Jobs>,
    #[command(flatten)]
    pub(crate) recording: Recording,
    /// Schedule as `run` does, with a portfolio of strategies
    #[arg(long, conflicts_with_all = ["strategy", "no_chaos"], help_heading = "Recording")]
    chaos: bool,
    #[arg(
        long,
        help = format!("How to schedule: {} [default: fair, or what --seed says]", drawn()),
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        conflicts_with = "no_chaos",
        help_heading = "Recording"
    )]
    strategy: Vec<StrategyName>,
    /// Use a plain fair schedule, even with the --seed of another one
    #[arg(long, help_heading = "Recording")]
    no_chaos: bool,
    /// Where a thread may be preempted. In programs that were not built for it, the operations in question are found in
    /// the machine code, and moved [default: sync and memory in turn under chaos, else syscall]
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Recording")]
    pub(crate) preempt: Option<Level>,
    /// A run that takes longer counts as hung [default: no limit; of several runs, far beyond what they usually take]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Recording")]
    pub(crate) timeout: Option<Duration>,
    /// Of several runs: find out what a failure needs after it has been reported, in so much time; never [default: 5s,
    /// or a tenth of --for]
    #[arg(long, value_name = "DURATION|never", value_parser = parse_explain, help_heading = "Recording")]
    explain: Option<Explain>,
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
        let any = self.chaos || ((self.recording.seed.is_some() || self.repeats()) && !self.no_chaos);
        if any || !self.strategy.is_empty() { self.strategy.clone() } else { vec![StrategyName::Fair] }
    }

    /// Whether there are to be several runs.
    pub(crate) fn repeats(&self) -> bool {
        self.until_fail || self.runs.is_some() || self.time.is_some()
    }

    /// In how much time it is to be found out what failures need; none: it is not.
    pub(crate) fn explain(&self) -> Option<Duration> {
        Explain::time(self.explain, self.time)
    }

    /// Whether threads are preempted elsewhere than where they give way themselves.
    pub(crate) fn is_chaos(&self) -> bool {
        self.strategies() != [StrategyName::Fair]
    }
}
