//! `backtrace`: where a trace's program fails, without a debugger.

use std::borrow::Cow;
use std::path::Path;

use rrtest_engine::carried::Carried;
use rrtest_engine::ending::{Ending, TaskState};
use rrtest_engine::failure::{self, Failure, Find, Kind, Moment};
use rrtest_engine::replay::{Options, Report, Session, Why};
use rrtest_engine::symbols::origin::Origin;
use rrtest_engine::task::TaskId;
use rrtest_engine::trace::Trace;
use serde::Serialize;

use super::given::{self, PATIENCE};
use super::options::traces::Backtrace;
use super::options::values::MessageFormat;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::{CAUTION, GOOD, print};
use crate::base::words::{count, visible};
use crate::ending::backtrace::{self, Frames};
use crate::ending::panic::Panic;
use crate::ending::stacks::{self, Placed, Stacks, Thread};
use crate::ending::{describe, waits};
use crate::store::limit;

/// Shows stacks where the program fails, or at an event.
pub(crate) fn run(options: &Backtrace) -> Result<Status, CliError> {
    let interrupt = Interrupt::install()?;
    let given = given::trace(&options.trace)?;
    let _stays = limit::hold(given.path());
    let trace = given::open(given.path())?;
    let carried = Carried::by(&trace)?;
    let core = cores()?.first().copied().unwrap_or(0);
    let failure = match options.at {
        Some(_) => None,
        None => Some(failure::find(&carried, Find { core, stop: &interrupt.stop, patience: PATIENCE })?),
    };
    let moment = match (&failure, options.at) {
        (Some(failure), _) => failure.moment,
        (None, at) => event(&trace, at.unwrap_or_default())?,
    };
    let mut silent = |_, _: &[u8]| {};
    let replay = Options { core, stop: &interrupt.stop, patience: PATIENCE, watch: &[], output: &mut silent };
    let mut session = Session::start(&trace, replay)?;
    let report = failure::go_to(&mut session, &moment)?;
    check(&trace, report)?;
    let task = if failure.is_some() { moment.task } else { report.task };
    let waits_for_others = failure.as_ref().is_some_and(|it| matches!(it.kind, Kind::Deadlock | Kind::Hang));
    let tasks = if options.all || waits_for_others { stacks::tasks(&session, task) } else { vec![task] };
    let mut stacks = Stacks::of(&carried);
    let mut threads =
        tasks.into_iter().map(|task| stacks.thread(&mut session, task)).collect::<Result<Vec<_>, _>>()?;
    if failure.as_ref().is_some_and(|failure| failure.moment.stop.is_none()) {
        threads.iter_mut().for_each(|thread| say_what_is_recorded(thread, trace.ending()));
    }
    warn_of_missing(&carried, &threads)?;
    print(&match options.message_format {
        MessageFormat::Json => to_json(given.path(), &trace, failure.as_ref(), report, &threads),
        MessageFormat::Human => {
            let which = if options.full { Frames::All } else { Frames::Own };
            to_text(&given.label, &trace, failure.as_ref(), report, &threads, which)
        }
    })?;
    Ok(Status::Success)
}

/// The moment at which so many events of a trace have been carried out.
pub(crate) fn event(trace: &Trace, event: u64) -> Result<Moment, CliError> {
    let last = trace.count().saturating_sub(1);
    if (1..=last).contains(&event) {
        return Ok(Moment::after(event, TaskId(0)));
    }
    Err(CliError::usage(format!(
        "there is no event {event} in this trace: it has the events 1 to {last}, the last of which is the program's end"
    )))
}

/// A trace that tells of more events than there are before its program's end.
pub(crate) fn check(trace: &Trace, report: Report) -> Result<(), CliError> {
    if report.why != Why::Ended {
        return Ok(());
    }
    Err(CliError::new(
        Status::Diverged,
        format!("the program ended at event {}, of {}", report.event, count(trace.count(), "event")),
    ))
}

/// Says which programs and libraries the trace does not carry, so that their functions have no names.
pub(crate) fn warn_of_missing(carried: &Carried<'_>, threads: &[Thread]) -> Result<(), CliError> {
    let missing = stacks::missing(carried, threads)?;
    let missing: Vec<String> = missing.iter().map(|module| module.display().to_string()).collect();
    if !missing.is_empty() {
        anstream::eprintln!(
            "{CAUTION}warning{CAUTION:#}: the trace does not carry these files, and they are not on this machine as they \
             were recorded; their functions have no names: {}",
            visible(&missing.join(", "))
        );
    }
    Ok(())
}

/// At the end, what the recorder knew is more than what the replay shows: what a thread waits for, and who could end it.
pub(crate) fn say_what_is_recorded(thread: &mut Thread, ending: &Ending) {
    let tasks: &[TaskState] = match ending {
        Ending::Killed { tasks, .. } | Ending::Deadlocked(tasks) | Ending::Hung { tasks, .. } => tasks,
        Ending::Exited(_) | Ending::Unsupported { .. } => return,
    };
    if let Some(state) = tasks.iter().find(|state| state.task == thread.task) {
        thread.doing = waits::doing(state, tasks);
    }
}

/// How the program fails, a line or more.
pub(crate) fn in_words(failure: &Failure, ending: &Ending) -> Vec<String> {
    let panic = failure.message.as_deref().and_then(Panic::first);
    match (failure.kind, panic) {
        (Kind::Panic, Some(panic)) => {
            let message = panic.message.lines().map(|line| format!("  {line}"));
            std::iter::once(format!("panicked at {}", panic.place())).chain(message).collect()
        }
        (Kind::Panic, None) => vec!["panicked".to_owned()],
        (Kind::Exit(0), _) => vec!["exit code 0: it has not failed".to_owned()],
        (Kind::Exit(code), _) if failure.panics_known => {
            vec![format!("exit code {code}, without a panic that explains it")]
        }
        (Kind::Exit(code), _) => vec![format!("exit code {code}; whether it panicked is not known")],
        (Kind::Signal(_) | Kind::Deadlock | Kind::Hang | Kind::Unsupported, _) => {
            let mut lines = describe::ending(ending, Frames::Own);
            let tasks = match ending {
                Ending::Deadlocked(tasks) => tasks.as_slice(),
                _ => &[],
            };
            lines.truncate(1);
            lines.extend(waits::in_cycle(tasks).map(|cycle| format!("  {cycle}")));
            lines
        }
    }
}

/// Where a replay stands: `at event 63 of 70, 5 ticks later`.
pub(crate) fn place(trace: &Trace, report: Report) -> String {
    let mut text = format!("at event {} of {}", report.event, trace.count().saturating_sub(1));
    if report.ticks > 0 {
        text += &format!(", {} later", count(report.ticks, "tick"));
    }
    text
}

fn to_text(
    label: &str,
    trace: &Trace,
    failure: Option<&Failure>,
    report: Report,
    threads: &[Thread],
    which: Frames,
) -> String {
    let mut text = format!("{GOOD}   Backtrace{GOOD:#} {}: {}\n", visible(label), place(trace, report));
    for line in failure.iter().flat_map(|failure| in_words(failure, trace.ending())) {
        text += &format!("             {}\n", visible(&line));
    }
    let mut bytes = Vec::new();
    for thread in threads {
        // A vector takes all.
        let _written = stacks::write(&mut bytes, thread, which);
    }
    text + &String::from_utf8_lossy(&bytes)
}

/// The object of `--message-format json`.
#[derive(Serialize)]
struct Object<'a> {
    trace: Cow<'a, str>,
    /// How the program fails; null for a moment that was asked for.
    failure: Option<Words<'a>>,
    moment: Place,
    threads: Vec<InJson<'a>>,
}

#[derive(Serialize)]
struct Words<'a> {
    kind: &'static str,
    signal: Option<i32>,
    exit_code: Option<i32>,
    message: Option<&'a str>,
}

impl<'a> From<&'a Failure> for Words<'a> {
    fn from(failure: &'a Failure) -> Self {
        let (kind, signal, exit_code) = match failure.kind {
            Kind::Panic => ("panic", None, None),
            Kind::Signal(signal) => ("signal", Some(signal), None),
            Kind::Deadlock => ("deadlock", None, None),
            Kind::Hang => ("hang", None, None),
            Kind::Exit(code) => ("exit", None, Some(code)),
            Kind::Unsupported => ("unsupported", None, None),
        };
        Self { kind, signal, exit_code, message: failure.message.as_deref() }
    }
}

#[derive(Serialize)]
struct Place {
    event: u64,
    last_event: u64,
    ticks: u64,
    task: u32,
}

#[derive(Serialize)]
struct InJson<'a> {
    task: u32,
    process: u32,
    thread: &'a str,
    doing: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    awaits: Vec<String>,
    frames: Vec<FrameInJson<'a>>,
}

#[derive(Serialize)]
struct FrameInJson<'a> {
    address: String,
    function: Option<&'a str>,
    inlined: bool,
    file: Option<&'a str>,
    line: Option<u32>,
    text: Option<&'a str>,
    origin: &'static str,
    #[serde(rename = "crate", skip_serializing_if = "Option::is_none")]
    of_crate: Option<String>,
    module: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Placed> for FrameInJson<'a> {
    fn from(placed: &'a Placed) -> Self {
        let Placed { frame, inlined, text, module } = placed;
        let (origin, of_crate) = match Origin::of(frame) {
            Origin::Own => ("own", None),
            Origin::Runtime => ("recorder", None),
            Origin::Std => ("std", None),
            Origin::Crate(name) => ("crate", Some(name)),
            Origin::Unknown => ("unknown", None),
        };
        Self {
            address: format!("{:#x}", frame.address),
            function: frame.function.as_deref(),
            inlined: *inlined,
            file: frame.location.as_ref().map(|(file, _)| &**file),
            line: frame.location.as_ref().map(|(_, line)| *line),
            text: text.as_deref(),
            origin,
            of_crate,
            module: module.as_ref().map(|module| module.to_string_lossy()),
        }
    }
}

fn to_json(
    path: &Path,
    trace: &Trace,
    failure: Option<&Failure>,
    report: Report,
    threads: &[Thread],
) -> String {
    let object = Object {
        trace: path.to_string_lossy(),
        failure: failure.map(Into::into),
        moment: Place {
            event: report.event,
            last_event: trace.count().saturating_sub(1),
            ticks: report.ticks,
            task: failure.map_or(report.task, |failure| failure.moment.task).0,
        },
        threads: threads
            .iter()
            .map(|thread| InJson {
                task: thread.task.0,
                process: thread.process.0,
                thread: &thread.name,
                doing: &thread.doing,
                awaits: backtrace::awaits(&thread.awaits),
                frames: thread.frames.iter().map(Into::into).collect(),
            })
            .collect(),
    };
    let json = serde_json::to_string(&object).expect("names and numbers");
    json + "\n"
}
