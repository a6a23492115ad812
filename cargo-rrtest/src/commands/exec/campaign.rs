//! Many runs of a program, as of a test.

use std::io;
use std::sync::Mutex;
use std::thread;

use rrtest_engine::patience::Limit;
use rrtest_engine::record::{Outsiders, Stdin};

use super::options::Exec;
use crate::attempt::engine::Real;
use crate::attempt::events::Reporter;
use crate::attempt::record::Setting;
use crate::base::cores::cores;
use crate::base::exit::CliError;
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::campaign::agenda::{Agenda, Other, Subject};
use crate::campaign::dispatch;
use crate::commands::options::values::{MessageFormat, NeverRan};
use crate::commands::prune;
use crate::commands::run::tell_summary;
use crate::discover::libtest::Shown;
use crate::discover::test::Test;
use crate::report::display::{Detail, Display};
use crate::report::json::Json;
use crate::report::progress::Progress;
use crate::store::traces::Store;

/// Runs the campaign. Returns the exit code.
pub(super) fn run(options: &Exec, test: Test, store: &Store) -> Result<u8, CliError> {
    let interrupt = Interrupt::install()?;
    thread::spawn(rrtest_engine::record::get_ready);
    let cores = cores()?;
    let slots = options.jobs.map_or(cores.len(), |jobs| jobs.on(cores.len()));
    let cores: Vec<usize> = cores.into_iter().cycle().take(slots).collect();
    let json = options.message_format == MessageFormat::Json;
    let mut reporters = reporters(json);
    let strategies = options.strategies();
    let setting = Setting {
        engine: &Real,
        store,
        keep: options.recording.keep,
        limit: options.timeout.map_or(Limit::Usual(None), Limit::Real),
        stdin: Stdin::Null,
        outsiders: Outsiders::StayAway,
        listener: None,
        strategies: &strategies,
        time: options.recording.time,
        processor: options.recording.cpu,
        takes_apart: true,
        surprises: options.recording.surprises,
        faults: &options.recording.faults,
        rustc: "",
        known: Mutex::default(),
        kept: Mutex::default(),
        end: None,
        verification_ends: None,
        attached: options.recording.attached(test.program.cwd.clone()),
        in_use: Some(dispatch::in_use()),
        judging: Mutex::default(),
    };
    let (level, other) = match (options.preempt, options.recording.seed) {
        (Some(level), _) => (level, None),
        // A seed belongs to a level.
        (None, Some(seed)) => (super::usual_level(options, seed), None),
        (None, None) if !options.is_chaos() => (Level::Syscall, None),
        (None, None) => (Level::Sync, Some((Level::Memory, Other::Ready(Ok(vec![test.clone()]))))),
    };
    let subject = Subject { tests: vec![test], pins: Vec::new(), ignored: Vec::new(), level, other };
    let agenda = Agenda {
        runs: options.runs,
        time: options.time,
        until_fail: options.until_fail,
        keep_going: false,
        explain: options.explain(),
        keep_original: false,
        strategies: strategies.clone(),
        bound: None,
        shard: None,
        seed: options.recording.seed,
    };
    let summary = dispatch::run(subject, agenda, &setting, &cores, &interrupt, &mut reporters);
    let told = summary.and_then(|summary| tell_summary(summary, NeverRan::Fail, &mut reporters));
    prune::prune(store, options.recording.trace_limit, json);
    told.map(|status| status as u8)
}

fn reporters(json: bool) -> Vec<Box<dyn Reporter>> {
    let detail = if json { Detail::Quiet } else { Detail::Normal };
    let progress = Progress::new(!json);
    let display = Display::new(detail, Shown::OfFailures, progress.bar(), None);
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(progress), Box::new(display)];
    if json {
        reporters.push(Box::new(Json::new(io::stdout())));
    }
    reporters
}
