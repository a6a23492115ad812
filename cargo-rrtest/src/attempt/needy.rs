//! Whether a test that fails by itself passes among the others of its binary.
//!
//! Each test has a process of its own, unless `--together` asks for another way. A test that needs what another one has done before it in
//! the same process then fails however it is scheduled, and never under `cargo test`: who reads that is to know why.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rrtest_engine::program::Program;
use rrtest_engine::record::{CutOff, Recording};
use rrtest_engine::schedule::surprise::Surprises;
use rrtest_engine::schedule::{Plan, StrategyName};

use super::events::Attempt;
use super::record::Setting;
use crate::discover::libtest::ended_tests;
use crate::ending::outcome::Outcome;
use crate::ending::output;

/// A report waits no longer than this for the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a report says of such a test.
pub(crate) const SENTENCE: &str = "it passes when all tests of its binary run in one process, as under `cargo test`: it may need \
                                   what an earlier test does (--together runs them that way)";

/// Whether a test of which an attempt has failed passes where all tests of its binary run in one process, under a plain schedule. If not
/// even a plain schedule makes it fail, it does not depend on that, and it is false; so it is where that cannot be told.
pub(crate) fn passes_together(
    setting: &Setting<'_>,
    attempt: &Attempt,
    core: usize,
    stop: &AtomicBool,
) -> bool {
    let test = &attempt.test;
    let Some(name) = &test.name else { return false };
    let has_mates = test.mates.iter().any(|mate| mate != name);
    if !attempt.outcome.is_failure() || !has_mates {
        return false;
    }
    let until = Instant::now() + PATIENCE;
    let plainly = |program: &Program| -> Option<Recording> {
        let mut options = setting.options(Plan::new(StrategyName::Fair, 0), core, stop);
        options.surprises = Surprises::NONE;
        options.until = Some(CutOff::untold(until));
        options.watchdog_main = test.harness;
        // An error of ours is none of this test: its own attempt has been told.
        setting.engine.record(program, &options).ok()
    };
    let fails_plainly = attempt.strategy == StrategyName::Fair
        || plainly(&test.program).is_some_and(|alone| Outcome::of(&alone.ending).is_failure());
    if !fails_plainly {
        return false;
    }
    // As libtest has them if nobody chooses any, but with those to be ignored where this is one.
    let args = test.program.args.iter().filter(|arg| *arg == "--ignored").map(|_| "--include-ignored".into());
    let all = Program { args: args.collect(), ..test.program.clone() };
    plainly(&all).is_some_and(|together| {
        let text = output::both(&together.output);
        ended_tests(&text).contains(&(name.as_str(), true))
    })
}
