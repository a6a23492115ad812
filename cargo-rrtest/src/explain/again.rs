//! Tries an explained failure again, on the program as it is now.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::explain::near::neighbours;
use rrtest_engine::schedule::script::{Noted, Script};

use super::bench::Bench;
use super::case::Case;
use super::mapping::{Mapped, Mapping};
use super::work::{explore, rate};
use crate::attempt::events::Kept;
use crate::attempt::order::Order;
use crate::attempt::record::{Job, Setting};
use crate::attempt::seed::Seed;
use crate::build::instrument::Level;
use crate::discover::test::Test;
use crate::ending::explanation::{Explanation, Place, Rate};

/// How far preemptions are moved, in operations.
const REACH: u64 = 24;

/// How often the old schedule itself is tried.
const RUNS: u64 = 50;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// Runs of the old schedule and of those like it.
    pub(crate) near: Rate,
    /// Places that the program does not come to any more.
    pub(crate) gone: Vec<Place>,
    /// A schedule that fails.
    pub(crate) failing: Option<Script>,
}

/// Tries the schedule of an explanation, and those in its neighbourhood, until one fails: attempts as `job` says.
///
/// # Errors
/// If one cannot be recorded.
pub(crate) fn again(
    setting: &Setting<'_>,
    job: &Job,
    old: &Explanation,
    core: usize,
    stop: &AtomicBool,
    time: Duration,
) -> Result<Again, Error> {
    let case = case(setting, job.clone());
    let until = Instant::now() + time;
    let mut bench = Bench::new(setting, &case, core, stop, until);
    let found = tried(&mut bench, old);
    bench.error.map_or(Ok(found), Err)
}

fn tried(bench: &mut Bench<'_>, old: &Explanation) -> Again {
    let mut found = Again::default();
    let mapping = Mapping::of(&old.script, &old.windows);
    let seen = mapping.scout().and_then(|scout| bench.record(&scout)).map(|recording| recording.marks);
    let Mapped { latest: moved, changed, gone, .. } = mapping.map(&seen.unwrap_or_default());
    found.gone = [changed, gone].concat();
    let mut scripts = vec![moved.clone()];
    scripts.extend((moved != old.script).then(|| old.script.clone()));
    for script in &scripts {
        let own = rate(bench, RUNS, |_| script.clone());
        found.near.runs += own.runs;
        found.near.failed += own.failed;
        if own.failed > 0 {
            found.failing = Some(script.clone());
            return found;
        }
    }
    for script in scripts.iter().flat_map(|script| neighbours(script, REACH)) {
        let own = rate(bench, 1, |_| script.clone());
        found.near.runs += own.runs;
        found.near.failed += own.failed;
        if own.failed > 0 {
            found.failing = Some(script);
            return found;
        }
    }
    // All other interleavings with as many preemptions, as far as there is time.
    let before = bench.runs;
    let until = bench.until;
    found.failing = explore(bench, old.script.preemptions().clamp(1, 2), until);
    found.near.runs += bench.runs - before;
    found.near.failed += u64::from(found.failing.is_some());
    found
}

/// The job that makes an attempt at a test with a seed.
pub(crate) fn job(test: &Arc<Test>, level: Level, seed: Seed) -> Job {
    Job {
        test: Arc::clone(test),
        level,
        number: 1,
        seed,
        order: Order::Usual,
        branches: Vec::new(),
        script: None,
        pinned: None,
        measure: false,
        patience: None,
        until: None,
        watched: false,
    }
}

fn case(setting: &Setting<'_>, job: Job) -> Case {
    let plan = job.seed.plan(job.test.strategies(setting.strategies));
    Case {
        surprises: setting.surprises_of(&job.test, plan.strategy),
        plan,
        noted: Noted::default(),
        fingerprint: None,
        failed_tests: Vec::new(),
        preemptions: 0,
        wall: Duration::ZERO,
        info: serde_json::Value::Null,
        trace: Kept { path: std::path::PathBuf::new(), verified: false, by_name: false },
        attach: None,
        job,
    }
}
