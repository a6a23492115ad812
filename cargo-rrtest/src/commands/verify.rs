//! `verify`: whether an explained failure still comes about in the code as it is now.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rrtest_engine::trace::Trace;
use serde_json::Value;

use super::cli::Command;
use super::options::configured;
use super::options::traces::{OneTrace, Verify};
use super::{given, run};
use crate::attempt::events::{Reporter, RunEvent, Summary, Verified, tell};
use crate::attempt::record::Setting;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::words::relative;
use crate::build::instrument::Level;
use crate::campaign::agenda::{Agenda, Subject};
use crate::campaign::dispatch;
use crate::discover::test::Test;
use crate::ending::explanation::{Explanation, Rate};
use crate::explain::again::{Again, again, job};
use crate::settings::layers::Refusal;
use crate::store::traces::Store;

/// What part of the time the neighbourhood of the old schedule may have.
const NEAR: u32 = 2;

/// A failure that has been explained.
#[derive(Clone, Debug)]
pub(crate) struct Old {
    explanation: Arc<Explanation>,
}

/// Run the command: build the test of the trace as it is now, and try to make it fail again.
pub(crate) fn run(options: &Verify) -> Result<Status, CliError> {
    let path = match newest_explained(&options.trace)? {
        Some(path) => path,
        None => given::trace(&options.trace)?.path,
    };
    let trace = given::read(&path)?;
    let old = Old { explanation: Arc::new(explanation(&trace, &relative(&path).display().to_string())?) };
    let args = arguments(&trace, &old, options)?;
    let cli = match configured::read(args) {
        Ok(cli) => cli,
        Err(Refusal::CommandLine(error)) => error.exit(),
        Err(Refusal::Setting(stop)) => return Err(stop),
    };
    let Some(Command::Run(mut run)) = cli.command else {
        return Err(CliError::usage("the trace's test cannot be named on a command line"));
    };
    run.verify = Some(old);
    run::run(&run, &cli.settings, cli.color)
}

/// Returns the newest trace that says what its failure needs, if the user has named none: what a `verify` has kept that
/// failed again does not.
pub(super) fn newest_explained(options: &OneTrace) -> Result<Option<PathBuf>, CliError> {
    let OneTrace { trace: None, place, .. } = options else { return Ok(None) };
    let entries = Store::find(place.trace_dir.as_deref(), &place.selection())?.entries()?;
    let explained = |path: &Path| Trace::open(path).is_ok_and(|trace| explanation(&trace, "").is_ok());
    Ok(entries.into_iter().map(|entry| entry.path).find(|path| explained(path)))
}

/// Returns what the trace says of its failure.
pub(super) fn explanation(trace: &Trace, name: &str) -> Result<Explanation, CliError> {
    Explanation::of(trace.info()).ok_or_else(|| {
        CliError::usage(format!(
            "{name} does not say what its failure needs: nobody has found that out, it fails under every schedule, or another \
             version of rrtest has written it\n  record the failure again: `cargo rrtest --until-fail`, with more time for \
             that by --explain 20s"
        ))
    })
}

/// The arguments of a run of the trace's test, recorded as the trace was.
fn arguments(trace: &Trace, old: &Old, options: &Verify) -> Result<Vec<OsString>, CliError> {
    let info = trace.info();
    let fact = |key: &str| info.get(key).and_then(Value::as_str);
    let (Some(package), Some(binary), Some(test)) = (fact("package"), fact("binary"), fact("test")) else {
        return Err(CliError::usage("only traces of a single test can be verified"));
    };
    let mut args: Vec<OsString> = ["run", "-p", package].map(OsString::from).into();
    let target = binary.split_once("::").map(|(_, target)| target);
    match target.map(|target| target.split_once('/').unwrap_or(("test", target))) {
        None => args.push("--lib".into()),
        Some((kind, name)) => args.extend([format!("--{kind}").into(), name.into()]),
    }
    let time = humantime::format_duration(options.time).to_string();
    let level = &old.explanation.preempt;
    for (option, value) in [
        ("--preempt", Some(level.as_str())),
        ("--for", Some(&time)),
        ("--time", fact("time")),
        ("--cpu", fact("cpu")),
        ("--explain", Some("never")),
    ] {
        args.extend(value.into_iter().flat_map(|value| [option.into(), value.into()]));
    }
    args.push("--until-fail".into());
    args.extend(options.trace.place.options());
    args.extend([test, "--", "--exact"].map(OsString::from));
    Ok(args)
}

/// What it takes to try.
pub(super) struct Attempts<'a> {
    pub(super) old: &'a Old,
    pub(super) tests: Vec<Test>,
    pub(super) level: Level,
    pub(super) agenda: Agenda,
    pub(super) setting: &'a Setting<'a>,
    pub(super) cores: &'a [usize],
    pub(super) interrupt: &'a Interrupt,
}

impl Attempts<'_> {
    /// Try the old schedule, those like it, and any others for the rest of the time.
    pub(super) fn make(self, reporters: &mut [Box<dyn Reporter>]) -> Result<Summary, CliError> {
        let Self { old, tests, level, mut agenda, setting, cores, interrupt } = self;
        let explanation = &old.explanation;
        let start = Instant::now();
        let time = agenda.time.unwrap_or_default();
        let core = cores.first().copied().unwrap_or(0);
        let test = Arc::new(tests[0].clone());
        let found = std::thread::scope(|scope| {
            let (test, stop) = (&test, &interrupt.by_user);
            // The recorder binds its thread to a core.
            let asked = scope.spawn(move || near(setting, test, level, explanation, core, stop, time / NEAR));
            asked.join().unwrap_or_else(|_| Err(CliError::said(Status::Recorder)))
        });
        let (found, attempt) = found?;
        let mut verified = Verified {
            test: Arc::clone(&test),
            before: explanation.with,
            near: found.near,
            elsewhere: Rate::default(),
            gone: found.gone,
        };
        if let Some(attempt) = attempt {
            let mut summary = Summary::of_none(1, false);
            summary.count(&attempt);
            summary.wall = start.elapsed();
            tell(reporters, &RunEvent::Attempt(Box::new(attempt)))?;
            tell(reporters, &RunEvent::Verified(Box::new(verified)))?;
            return Ok(summary);
        }
        agenda.time = Some(time.saturating_sub(start.elapsed()).max(Duration::from_millis(100)));
        let subject = Subject { tests, pins: Vec::new(), ignored: Vec::new(), level, other: None };
        let summary = dispatch::run(subject, agenda, setting, cores, interrupt, reporters)?;
        verified.elsewhere = Rate { failed: summary.failures, runs: summary.attempts };
        tell(reporters, &RunEvent::Verified(Box::new(verified)))?;
        Ok(summary)
    }
}

/// Tries the neighbourhood. What fails there is recorded once more, and kept.
fn near(
    setting: &Setting<'_>,
    test: &Arc<Test>,
    level: Level,
    old: &Explanation,
    core: usize,
    stop: &AtomicBool,
    time: Duration,
) -> Result<(Again, Option<crate::attempt::events::Attempt>), CliError> {
    let found = again(setting, test, level, old, core, stop, time);
    let Some(script) = found.failing.clone() else { return Ok((found, None)) };
    let made = setting.record(job(test, level, old, Some(script)), core, None, stop)?;
    let attempt = setting.judge(made, core, stop);
    Ok((found, Some(attempt)))
}
