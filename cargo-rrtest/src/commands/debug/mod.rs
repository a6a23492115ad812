//! `debug`: gdb or lldb on a trace, at the failure, in both directions.

mod banner;
mod gdb;
mod listen;
mod lldb;
mod program;
mod scene;
mod vscode;

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use rrtest_engine::carried::Carried;
use rrtest_engine::debug::{Debugger, Ended, serve};
use rrtest_engine::failure::{self, Failure, Find};
use rrtest_engine::task::TaskId;
use rrtest_engine::timeline::{Asked, Breakpoint, Moment, Options, Stop, Timeline};
use rrtest_engine::trace::Trace;
use rrtest_engine::trace::event::Stream as Output;

use super::backtrace;
use super::given::{self, PATIENCE};
use super::options::traces::Debug;
use super::show;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::{Interrupt, leave_ctrl_c_to_child};
use crate::base::terminal::GOOD;
use crate::base::words::visible;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::store::limit;
use crate::store::source::Given;
use banner::Banner;
use listen::{Listener, Place};
use scene::Scene;

/// What is said once somebody can connect.
const LISTENING: &str = "Listening";

/// Opens a trace in a debugger.
pub(crate) fn run(options: &Debug) -> Result<ExitCode, CliError> {
    let given = given::trace(&options.trace)?;
    let _stays = limit::hold(given.path());
    let trace = given::open(given.path())?;
    if options.vscode {
        return configure(&given, &trace, options);
    }
    let carried = Carried::by(&trace)?;
    // A server ends with Ctrl-C; beside gdb it is gdb's.
    let server = options.server.as_deref().map(|place| Listener::bind(&place.parse()?)).transpose()?;
    let program = if server.is_none() { Some(program::find(options)?) } else { None };
    let interrupt = if server.is_some() { Interrupt::install()? } else { Interrupt::default() };
    let core = cores()?.first().copied().unwrap_or(0);
    let find = Find { core, stop: &interrupt.stop, patience: PATIENCE };
    let failure = failure::find(&carried, find)?;
    let asked = AtomicBool::new(false);
    let timeline = || at_failure(&trace, &failure, options, (core, &asked));
    let mut opened = timeline()?;
    let process = process(&opened, &failure, options)?;
    let banner = Banner::of(&given.label, &trace, &carried, &failure, &mut opened)?;
    let Some(program) = program else {
        let listener = server.ok_or_else(|| CliError::usage("there is nothing to serve"))?;
        let debugger = |timeline| debugger(timeline, process, &carried);
        return serve_all(
            &listener,
            &banner,
            debugger(opened),
            || Ok(debugger(timeline()?)),
            &asked,
            &interrupt,
        );
    };
    let directory = tempfile::Builder::new().prefix("rrtest-debug-").tempdir();
    let directory = directory.map_err(|error| CliError::os("cannot make a temporary directory", &error))?;
    let socket = directory.path().join("gdb");
    let listener = Listener::bind(&Place::Unix(socket.clone()))?;
    let files = carried.lay_out()?;
    let path =
        opened.session().state().program(process).map_or_else(String::new, |(path, _)| path.to_owned());
    let mut debugger = debugger(opened, process, &carried);
    let frame = banner.frame.and_then(|(task, frame)| Some((debugger.thread_number(task)?, frame)));
    let scene = Scene { socket: &socket, files, program: &path, banner: &banner, frame };
    let mut child = program.start(directory.path(), &scene, &options.arguments)?;
    leave_ctrl_c_to_child();
    let mut served = Ok(Ended::Gone);
    // To go to a moment, gdb connects again.
    while let Some(stream) = listener.accept_while(&mut || child.is_running())? {
        served = serve(&mut debugger, &stream, &asked);
        if served.is_err() {
            break;
        }
    }
    drop(debugger);
    let code = child.wait()?;
    served?;
    Ok(code)
}

/// Serves one client after another, each from the failure on.
fn serve_all<'a>(
    listener: &Listener,
    banner: &Banner,
    mut debugger: Debugger<'a>,
    again: impl Fn() -> Result<Debugger<'a>, CliError>,
    asked: &AtomicBool,
    interrupt: &Interrupt,
) -> Result<ExitCode, CliError> {
    anstream::eprint!("{}", banner.text());
    anstream::eprintln!("{GOOD}   {LISTENING}{GOOD:#} connect gdb by: {}", listener.how());
    loop {
        let Some(stream) = listener.accept_while(&mut || !interrupt.by_user())? else {
            return Ok(Status::Interrupted.into());
        };
        match serve(&mut debugger, &stream, asked) {
            Ok(Ended::Detached | Ended::Gone) => {}
            // What a client sends is no fault of the trace's.
            Err(error @ rrtest_engine::Error::Os { .. }) => crate::base::terminal::error(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
        if debugger.is_moved() {
            continue;
        }
        anstream::eprintln!("{GOOD}        Gone{GOOD:#} the next one begins at the failure");
        debugger = again()?;
    }
}

/// Writes how an editor debugs a trace.
fn configure(given: &Given, trace: &Trace, options: &Debug) -> Result<ExitCode, CliError> {
    if !given.stays() {
        return Err(CliError::usage(
            "the trace does not stay: unpack or fetch it into a file, and name that one",
        ));
    }
    let fact = |key: &str| trace.info().get(key).and_then(|value| value.as_str());
    let name = fact("test").unwrap_or(&given.label);
    Ok(vscode::write(name, &trace.program().path.to_string_lossy(), given.path(), options)?.into())
}

/// The debugger of a process, which knows what the trace tells of its failure.
fn debugger<'a>(timeline: Timeline<'a>, process: TaskId, carried: &'a Carried<'a>) -> Debugger<'a> {
    let trace = carried.trace();
    let ending = describe::ending(trace.ending(), Frames::Own);
    let ending = ending.iter().map(|line| visible(&anstream::adapter::strip_str(line).to_string())).collect();
    Debugger::new(timeline, process, carried).explained(explanation(trace)).ending(ending)
}

/// What the failure needs, in lines, if the trace tells.
fn explanation(trace: &Trace) -> Vec<String> {
    let text = show::explanation(trace.info()).map(|(_, text)| text).unwrap_or_default();
    visible(&text).lines().map(str::to_owned).collect()
}

/// A timeline that stands where the program fails, or where it was asked for.
fn at_failure<'a>(
    trace: &'a Trace,
    failure: &Failure,
    options: &Debug,
    (core, asked): (usize, &'a AtomicBool),
) -> Result<Timeline<'a>, CliError> {
    let output = Box::new(|stream, bytes: &[u8]| {
        use std::io::Write as _;
        // Whoever has closed the terminal does not read it.
        let _ = match stream {
            Output::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            Output::Stderr => std::io::stderr().write_all(bytes),
        };
    });
    let mut timeline =
        Timeline::start(trace, Options { core, interrupt: asked, patience: PATIENCE, output })?;
    let at = match options.at {
        Some(moment) => moment,
        None => Moment { event: failure.moment.event, ticks: 0, instructions: 0 },
    };
    timeline.seek(at)?;
    if options.at.is_none()
        && let Some((address, passes)) = failure.moment.stop
    {
        let breakpoint = Breakpoint { address, conditions: Vec::new() };
        let asked = Asked { breakpoints: vec![breakpoint], ..Asked::default() };
        let mut left = passes;
        while left > 0 && timeline.run(&asked)? != Stop::End {
            left -= 1;
        }
    }
    Ok(timeline)
}

/// The process that is debugged: the one that was asked for, or that fails.
fn process(timeline: &Timeline<'_>, failure: &Failure, options: &Debug) -> Result<TaskId, CliError> {
    let state = timeline.session().state();
    let Some(number) = options.pid else {
        return Ok(state.process(failure.moment.task).unwrap_or(TaskId(0)));
    };
    let processes: Vec<u32> = state.tasks().filter_map(|(task, _)| Some(state.process(task)?.0)).collect();
    if processes.contains(&number) {
        return Ok(TaskId(number));
    }
    let mut known: Vec<String> = processes.iter().map(u32::to_string).collect();
    known.dedup();
    Err(CliError::usage(format!("there is no process {number} here; there are {}", known.join(", "))))
}
