//! What an attempt costs under each strategy, to one under a fair schedule.

use rrtest_engine::schedule::StrategyName;
use rrtest_tests::Harness;
use rrtest_tests::report::{Attempt, Report};
use rrtest_tests::tool::Run;

use crate::campaign::{Scheduling, TIMEOUT, median};
use crate::programs::Program;

/// Attempts of each round.
const ATTEMPTS: &str = "30";

/// What passing attempts of a program cost.
pub(crate) struct Cost {
    /// Under a fair schedule, in ms: the median.
    pub(crate) fair: f64,
    /// Under each of the ways, to that of the same round: the median. NaN if hardly any attempt passes.
    pub(crate) ratios: Vec<f64>,
}

impl Cost {
    /// Measure it in so many rounds, in each of which all ways take turns, with nothing else beside them.
    pub(crate) fn of(world: &Harness, program: &Program, ways: &[Scheduling], rounds: u32) -> Self {
        let mut fair = Vec::new();
        let mut ratios = vec![Vec::new(); ways.len()];
        for round in 1..=rounds {
            let base = pace(world, program, Scheduling(Some(StrategyName::Fair)), round);
            fair.push(base);
            for (way, ratios) in ways.iter().zip(&mut ratios) {
                ratios.push(pace(world, program, *way, round) / base);
            }
        }
        let known = |samples: Vec<f64>| median(samples.into_iter().filter(|it| !it.is_nan()).collect());
        Self { fair: known(fair), ratios: ratios.into_iter().map(known).collect() }
    }
}

/// What a passing attempt takes, in ms: the median.
fn pace(world: &Harness, program: &Program, way: Scheduling, round: u32) -> f64 {
    let traces = world.dir();
    let mut command = world.fixture(&program.package, traces.path());
    // With a seed all attempts are at one build, the same for all ways.
    command.args(["--until-fail", "--keep-going", "--runs", ATTEMPTS, "-j1", "--timeout", TIMEOUT]);
    command.args(["--preempt", program.level, "--seed", &round.to_string()]);
    command.args(way.0.into_iter().flat_map(|strategy| ["--strategy", strategy.as_str()]));
    let run = Run::of(command.args(["--", "--exact", &program.test]));
    assert!([Some(0), Some(101)].contains(&run.status.code()), "{run}");
    median(Report::of(&run).attempts.iter().filter_map(duration).collect())
}

/// How long a passing attempt took, in ms; nothing for those that did more, or less, than others of its kind.
fn duration(attempt: &Attempt) -> Option<f64> {
    let usual = attempt.text("outcome") == "passed" && attempt.text("start") == "forked";
    attempt.0["wall_ms"].as_f64().filter(|_| usual)
}
