//! `show --events`: what a trace has recorded, a line for each event.

use std::io::{self, Write};

use rrtest_engine::syscalls;
use rrtest_engine::trace::{Source as _, Trace};

use super::options::event_range::EventRange;
use crate::base::exit::{CliError, Status};
use crate::base::words::{count, visible};

/// Prints events of a trace.
///
/// # Errors
/// If the trace has none of these events, or is damaged.
pub(crate) fn show(trace: &Trace, range: EventRange) -> Result<Status, CliError> {
    let EventRange { from, to } = range;
    if from > 0 && from >= trace.count() {
        let count = count(trace.count(), "event");
        return Err(CliError::usage(format!("there is no event {from}: the trace has {count}, from 0 on")));
    }
    let names = |number| syscalls::describe(number).map(|call| call.name());
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    for (number, event) in (from..to.unwrap_or(u64::MAX)).zip(trace.events_from(from)) {
        let event = event.map_err(|error| CliError::new(Status::Recorder, error))?;
        match writeln!(out, "{number} {}", visible(&event.describe(names).to_string())) {
            // Nobody listens any more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Status::Success),
            written => written.map_err(|error| unwritten(&error))?,
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(Status::Success),
    }
}

fn unwritten(error: &io::Error) -> CliError {
    CliError::os("cannot write to standard output", error)
}
