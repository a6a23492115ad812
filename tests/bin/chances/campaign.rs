//! One campaign: attempts up to the first failure.

use std::fmt;

use rrtest_engine::schedule::StrategyName;
use rrtest_tests::Harness;
use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;

use crate::programs::Program;

/// What runs longer hangs: these are tests of milliseconds.
pub(crate) const TIMEOUT: &str = "1s";

/// How attempts are scheduled: by a strategy, or by the portfolio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheduling(pub(crate) Option<StrategyName>);

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("portfolio", StrategyName::as_str))
    }
}

/// What to try.
pub(crate) struct Campaign<'a> {
    pub(crate) program: &'a Program,
    pub(crate) way: Scheduling,
    pub(crate) seed: u64,
    /// Attempts after which it gives up.
    pub(crate) most: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    /// Attempts up to the first failure, and seconds until its trace was kept; infinite if there was none.
    pub(crate) attempts: f64,
    pub(crate) seconds: f64,
}

impl Campaign<'_> {
    pub(crate) fn run(&self, world: &Harness) -> Finding {
        let traces = world.dir();
        let Program { package, test, level, .. } = self.program;
        let (most, seed) = (self.most.to_string(), self.seed.to_string());
        let mut command = world.fixture(package, traces.path());
        command.args(["--until-fail", "--runs", &most, "-j1", "--timeout", TIMEOUT]);
        // The portfolio is what users get who ask for nothing: with a seed it would keep to one level.
        if let Some(strategy) = self.way.0 {
            command.args(["--strategy", strategy.as_str(), "--preempt", level, "--seed", &seed]);
        }
        let run = Run::of(command.args(["--", "--exact", test]));
        let found = match run.status.code() {
            Some(0) => false,
            Some(101) => true,
            _ => panic!("{run}"),
        };
        let report = Report::of(&run);
        let seconds = report.summary["wall_ms"].as_f64().expect("a number") / 1e3;
        match found {
            true => Finding { attempts: report.attempts.len() as f64, seconds },
            false => Finding { attempts: f64::INFINITY, seconds: f64::INFINITY },
        }
    }
}

/// The number below which this part of the samples is, by the nearest rank; NaN if there are none.
pub(crate) fn quantile(mut samples: Vec<f64>, part: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let rank = (samples.len() as f64 * part).ceil() as usize;
    samples.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The one in the middle.
pub(crate) fn median(samples: Vec<f64>) -> f64 {
    quantile(samples, 0.5)
}
