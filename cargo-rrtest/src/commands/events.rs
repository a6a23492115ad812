//! `show --events`: what a trace has recorded, a line for each event.

use std::io::{BufWriter, Write};

use rrtest_engine::syscalls;
use rrtest_engine::trace::{Source as _, Trace};

use super::options::event_range::EventRange;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::printed;
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
    let mut out = BufWriter::new(anstream::stdout().lock());
    for (number, event) in (from..to.unwrap_or(u64::MAX)).zip(trace.events_from(from)) {
        let event = event.map_err(|error| CliError::new(Status::Recorder, error))?;
        if !printed(writeln!(out, "{number} {}", visible(&event.describe(names).to_string())))? {
            return Ok(Status::Success);
        }
    }
    printed(out.flush()).map(|_| Status::Success)
}
