//! `replay`: reproduce a kept trace.

use std::io::{self, Write};
use std::time::Duration;

use rrtest_engine::ending::Ending;
use rrtest_engine::replay::{self, Options};
use rrtest_engine::trace::event::Stream;

use super::cli::OneTrace;
use super::given;
use crate::base::cores::cores;
use crate::base::exit::{CliError, Status};
use crate::base::interrupt::Interrupt;
use crate::base::terminal::GOOD;
use crate::base::words;
use crate::ending::backtrace::Frames;
use crate::ending::describe;
use crate::store::limit;

/// How long a replay may take from one event to the next: a machine may be much slower than the one that recorded.
const PATIENCE: Duration = Duration::from_secs(600);

/// Replay a trace, its output onto ours.
pub(crate) fn run(options: &OneTrace) -> Result<Status, CliError> {
    let interrupt = Interrupt::install()?;
    let given = given::trace(options)?;
    let _stays = limit::hold(&given.path);
    let trace = given::open(&given.path)?;
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
    let replayed = replay::replay(
        &trace,
        Options { core, stop: &interrupt.stop, patience: PATIENCE, watch: &[], output: &mut output },
    )?;
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
    let told = write_result(&mut text, &given.label, &replayed, trace.ending())
        .and_then(|()| anstream::stderr().lock().write_all(&text));
    // `cargo rrtest replay | head` is no failure.
    match unwritten.or(told.err()).filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        Some(error) => Err(CliError::os("cannot write the output", &error)),
        None => Ok(Status::Success),
    }
}

fn write_result(
    text: &mut impl Write,
    name: &str,
    replayed: &replay::Replayed,
    ending: &Ending,
) -> io::Result<()> {
    let ticks = words::count(replayed.stats.ticks, "tick");
    writeln!(text, "{GOOD}    Replayed{GOOD:#} {name}: as recorded, {ticks}")?;
    describe::ending(ending, Frames::Own).iter().try_for_each(|line| writeln!(text, "             {line}"))
}
