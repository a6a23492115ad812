//! `pin`: a failing schedule as a small file beside the tests, which each run tries first.

use std::sync::atomic::AtomicBool;

use clap::ValueEnum as _;
use rrtest_engine::output::Output;
use rrtest_engine::record::Time;
use rrtest_engine::replay::{self, Options};
use rrtest_engine::trace::Trace;
use rrtest_engine::trace::event::Stream;
use serde_json::Value;

use super::given::{self, PATIENCE};
use super::options::traces::OneTrace;
use super::verify::{explanation, newest_explained};
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{BOLD, DIM, GOOD};
use crate::base::words::relative;
use crate::build::cargo::Project;
use crate::build::instrument::Level;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::explanation::{Explanation, Needs};
use crate::ending::panic::Panic;
use crate::pins::file::{DIRECTORY, Pin, VERSION};

/// The longest text of a failure, in characters; the test says more when it fails again.
const LONGEST: usize = 300;

/// Run the command.
pub(crate) fn run(options: &OneTrace) -> Result<Status, CliError> {
    let interrupt = Interrupt::install()?;
    let given = match newest_explained(options)? {
        Some(given) => given,
        None => given::trace(options)?,
    };
    let trace = given::open(given.path())?;
    let explanation = explanation(&trace, &given.label)?;
    check(&explanation)?;
    let info = trace.info();
    let fact = |key: &str| info.get(key).and_then(Value::as_str);
    let (Some(package), Some(binary), Some(test)) = (fact("package"), fact("binary"), fact("test")) else {
        return Err(CliError::usage("only traces of a single test can be pinned"));
    };
    let project = Project::find(&options.place.selection())?;
    let directory = project.metadata.packages.iter().find(|it| it.name.as_str() == package);
    let directory = directory.and_then(|it| it.manifest_path.as_std_path().parent());
    let Some(directory) = directory.map(|directory| directory.join(DIRECTORY)) else {
        return Err(CliError::usage(format!(
            "the trace is of package `{package}`, which is not in this workspace\n  --manifest-path says where it is"
        )));
    };
    let unknown =
        |what: &str| CliError::usage(format!("another version of rrtest has written the trace: its {what}"));
    let pin = Pin {
        version: VERSION,
        binary: binary.to_owned(),
        test: test.to_owned(),
        outcome: fact("outcome").ok_or_else(|| unknown("outcome is missing"))?.to_owned(),
        failure: failure(&trace, &interrupt.stop)?,
        found: fact("created").ok_or_else(|| unknown("date is missing"))?.to_owned(),
        preempt: Level::from_str(&explanation.preempt, false)
            .map_err(|_| unknown("preemption level is unknown"))?,
        time: fact("time").map_or(Ok(Time::Real), str::parse).map_err(|why| unknown(&why))?,
        seed: explanation.seed.parse().map_err(|why: String| unknown(&why))?,
        windows: explanation.windows,
        schedule: explanation.script,
    };
    let pin = pin.portable();
    let (path, new) = pin.write(&directory)?;
    let shown = relative(&path).display().to_string();
    if !new {
        anstream::eprintln!("{GOOD}      Pinned{GOOD:#} {shown} {DIM}(already){DIM:#}");
        return Ok(Status::Success);
    }
    anstream::eprintln!("{GOOD}      Pinned{GOOD:#} {BOLD}{binary}{BOLD:#} {test}: {shown}");
    let option =
        if pin.preempt == Level::Sync { String::new() } else { format!(" --preempt {}", pin.preempt.name()) };
    anstream::eprintln!("             commit it: each `cargo rrtest{option}` tries this schedule first");
    Ok(Status::Success)
}

/// Refuses failures that no schedule brings about.
fn check(explanation: &Explanation) -> Result<(), CliError> {
    match explanation.needs {
        Needs::Preemptions | Needs::Surprises | Needs::Order => Ok(()),
        Needs::Nothing => Err(CliError::usage(
            "this fails under every schedule, so there is none to pin\n  the test itself will tell when it is mended",
        )),
        Needs::Unknown => Err(CliError::usage(
            "this does not fail again under the same schedule, so there is nothing to pin: something else differs from run \
             to run",
        )),
    }
}

/// Returns what the trace's program says of its failure, in words.
fn failure(trace: &Trace, stop: &AtomicBool) -> Result<String, CliError> {
    let mut written = Output::default();
    let mut output = |stream: Stream, bytes: &[u8]| written.push(stream, bytes);
    let core = cores()?.first().copied().unwrap_or(0);
    replay::replay(trace, Options { core, stop, patience: PATIENCE, watch: &[], output: &mut output })?;
    let panic = Panic::of(&written).map(|panic| format!("panicked at {}:\n{}", panic.place(), panic.message));
    let text = panic.unwrap_or_else(|| describe::ending(trace.ending(), Frames::Own).join("\n"));
    let text = anstream::adapter::strip_str(&text).to_string();
    Ok(match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}
