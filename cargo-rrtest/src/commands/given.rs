//! The trace that a command is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rrtest_engine::trace::Trace;

use super::options::traces::{OneTrace, Place};
use crate::base::exit::{CliError, Status};
use crate::base::terminal::CAUTION;
use crate::base::words::relative;
use crate::store::source::{self, Given};
use crate::store::traces::Store;

/// How long a replay may take from one event to the next: a machine may be much slower than the one that recorded.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// The trace that these options mean, wherever it comes from.
pub(crate) fn trace(options: &OneTrace) -> Result<Given, CliError> {
    let part = options.name.as_deref();
    let source = options.trace.as_deref().map(|source| source::find(source, part)).transpose()?.flatten();
    match (source, part) {
        (Some(given), _) => Ok(given),
        (None, Some(part)) => Err(CliError::usage(format!(
            "`{part}` chooses one of several traces, but `{}` is neither a folder nor a zip file nor a run of GitHub \
             Actions",
            options.trace.as_deref().unwrap_or_default()
        ))),
        (None, None) => find(options.trace.as_deref(), &options.place).map(Given::file),
    }
}

/// The trace that a user means: a path, a unique part of a name in the store, or nothing for the newest.
pub(crate) fn find(trace: Option<&str>, place: &Place) -> Result<PathBuf, CliError> {
    // A path needs no store, so that a trace replays where there is no project.
    if let Some(path) = trace.map(PathBuf::from).filter(|path| path.is_file()) {
        return Ok(path);
    }
    Store::find(place.trace_dir.as_deref(), &place.selection())?.resolve(trace)
}

/// Open a trace file.
pub(crate) fn read(path: &Path) -> Result<Trace, CliError> {
    Trace::open(path).map_err(|error| CliError::new(Status::Recorder, error))
}

/// Open a trace file to work with it. One that did not replay when it was kept says so at once.
pub(crate) fn open(path: &Path) -> Result<Trace, CliError> {
    let trace = read(path)?;
    if !trace.verified() {
        anstream::eprintln!(
            "{CAUTION}warning{CAUTION:#}: {} is not verified: it did not replay when it was recorded\n  \
             it may not show what happened; record the failure again",
            relative(path).display()
        );
    }
    Ok(trace)
}
