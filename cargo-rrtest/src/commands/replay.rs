//! `replay`: reproduce a kept trace.

use std::io::{self, Write};

use rrtest_engine::carried::Carried;
use rrtest_engine::ending::Ending;
use rrtest_engine::failure::{self, Find, Kind};
use rrtest_engine::replay::{self, Options, Session};
use rrtest_engine::trace::Trace;
use rrtest_engine::trace::event::Stream;
use serde_json::Value;

use super::given::{self, PATIENCE};
use super::options::traces::{Replay, Until};
use super::{backtrace, show};
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::GOOD;
use crate::base::words::{self, visible};
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::ending::stacks::{self, Stacks};
use crate::store::limit;

/// Replay a trace, its output onto ours.
pub(crate) fn run(options: &Replay) -> Result<Status, CliError> {
    let interrupt = Interrupt::install()?;
    let given = given::trace(&options.trace)?;
    let _stays = limit::hold(given.path());
    let trace = given::open(given.path())?;
    let core = cores()?.first().copied().unwrap_or(0);
    let mut unwritten = None;
    let mut output = |stream: Stream, bytes: &[u8]| {
        let written = match stream {
            Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(bytes),
        };
        // Whether it is faithful does not depend on who listens.
        unwritten = unwritten.take().or(written.err());
    };
    let (stop, patience) = (&interrupt.stop, PATIENCE);
    let how = Options { core, stop, patience, watch: &[], output: &mut output };
    if let Some(until) = options.until {
        let text = run_until(&trace, until, how, &given.label)?;
        return finish(&text, unwritten);
    }
    let replayed = replay::replay(&trace, how)?;
    // A trace that says something else than it has is not as recorded.
    if replayed.stats != trace.stats() {
        return Err(CliError::new(
            Status::Diverged,
            format!(
                "the replay counts something else\n  expected: {}\n  found:    {}",
                words::counts(trace.stats()),
                words::counts(replayed.stats)
            ),
        ));
    }
    let mut text = Vec::new();
    // A vector takes all.
    let _written = write_result(&mut text, &given.label, &replayed, trace.ending())
        .and_then(|()| write_explanation(&mut text, trace.info()));
    finish(&text, unwritten)
}

/// Says how the replay ended, unless the program's output could not be written.
fn finish(text: &[u8], unwritten: Option<io::Error>) -> Result<Status, CliError> {
    let told = anstream::stderr().lock().write_all(text);
    // `cargo rrtest replay | head` is no failure.
    match unwritten.or(told.err()).filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        Some(error) => Err(CliError::os("cannot write the output", &error)),
        None => Ok(Status::Success),
    }
}

/// Replays up to there, and returns in words where the running thread stands.
fn run_until<'a>(trace: &'a Trace, until: Until, how: Options<'a>, label: &str) -> Result<Vec<u8>, CliError> {
    let carried = Carried::by(trace)?;
    let moment = match until {
        Until::Event(event) => backtrace::event(trace, event)?,
        Until::Panic => {
            let Options { core, stop, patience, .. } = how;
            let failure = failure::find(&carried, Find { core, stop, patience })?;
            if failure.kind != Kind::Panic {
                let lines = backtrace::in_words(&failure, trace.ending());
                let how = lines.first().map(String::as_str).unwrap_or_default();
                return Err(CliError::usage(format!(
                    "no panic made this program fail: {how}\n  `cargo rrtest backtrace` shows where"
                )));
            }
            failure.moment
        }
    };
    let mut session = Session::start(trace, how)?;
    let report = failure::go_to(&mut session, &moment)?;
    backtrace::check(trace, report)?;
    let thread = Stacks::of(&carried).thread(&mut session, report.task)?;
    let threads = [thread];
    backtrace::warn_of_missing(&carried, &threads)?;
    let place = backtrace::place(trace, report);
    let mut text = Vec::new();
    let _written = writeln!(text, "{GOOD}    Replayed{GOOD:#} {label}: as recorded, {place}")
        .and_then(|()| stacks::write(&mut text, &threads[0], Frames::Own));
    Ok(text)
}

/// Says what the failure needs, as was found out when it was recorded.
fn write_explanation(text: &mut impl Write, info: &Value) -> io::Result<()> {
    let Some((_, lines)) = show::explanation(info) else { return Ok(()) };
    writeln!(text, "{GOOD}   Explained{GOOD:#} when it was recorded")?;
    // What a trace says is not to be trusted with the terminal.
    visible(&lines).lines().try_for_each(|line| writeln!(text, "    {line}"))
}

fn write_result(
    text: &mut impl Write,
    name: &str,
    replayed: &replay::Replayed,
    ending: &Ending,
) -> io::Result<()> {
    let ticks = words::count(replayed.stats.ticks, "tick");
    writeln!(text, "{GOOD}    Replayed{GOOD:#} {name}: as recorded, {ticks}")?;
    let lines = describe::ending(ending, Frames::Own);
    lines.iter().try_for_each(|line| writeln!(text, "             {}", visible(line)))
}
