//! How tests of several files record a program.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_engine::patience::Limit;
use rrtest_engine::program::Program;
use rrtest_engine::record::{self, Outsiders, Processor, Stdin, Ticks, Time};
use rrtest_engine::schedule::surprise::Surprises;
use rrtest_engine::schedule::{StrategyName, portfolio};

/// How long a recording or a replay may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Nobody interrupts a test's recordings and replays.
pub(crate) static GO_ON: AtomicBool = AtomicBool::new(false);

/// Real time, no surprises, and no one from outside.
pub(crate) fn options(strategy: StrategyName, seed: u64) -> record::Options<'static> {
    let measured = portfolio::Measured { ticks: 100, ..Default::default() };
    record::Options {
        plan: portfolio::plan(portfolio::seed(seed.into(), 0, strategy, &measured), &[]),
        measure: false,
        time: Time::Real,
        surprises: Surprises::NONE,
        core: core(),
        processor: Processor::V2,
        ticks: Ticks::default(),
        pretend_cores: 2,
        faults: &[],
        limit: Limit::Real(PATIENCE),
        until: None,
        stdin: Stdin::Null,
        listener: None,
        watchdog_main: false,
        outsiders: Outsiders::StayAway,
        end: None,
        wakes_stop: false,
        calls_stop: false,
        stop: &GO_ON,
    }
}

/// The program at `path`, run in `directory` with an empty environment.
pub(crate) fn program(path: &Path, args: &[&str], directory: &Path) -> Program {
    Program {
        path: path.to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: directory.to_owned(),
    }
}

/// The first core that we may use.
pub(crate) fn core() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).find(|core| set.is_set(*core).unwrap_or(false)).expect("a core")
}
