//! The trace that a command is given.

use std::path::{Path, PathBuf};

use rrtest_engine::trace::Trace;

use super::cli::{OneTrace, Place};
use crate::base::exit::{CliError, Status};
use crate::base::terminal::CAUTION;
use crate::base::words::relative;
use crate::store::traces::Store;

/// The trace that these options mean.
pub(crate) fn path(options: &OneTrace) -> Result<PathBuf, CliError> {
    find(options.trace.as_deref(), &options.place)
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
