//! The trace that a command is given.

use std::path::{Path, PathBuf};

use rrtest_engine::trace::Trace;

use super::cli::OneTrace;
use crate::base::exit::{CliError, Status};
use crate::base::terminal::CAUTION;
use crate::base::words::relative;
use crate::store::traces::Store;

/// The trace that these options mean.
pub(crate) fn path(options: &OneTrace) -> Result<PathBuf, CliError> {
    // A path needs no store, so that a trace replays where there is no project.
    if let Some(path) = options.trace.as_ref().map(PathBuf::from).filter(|path| path.is_file()) {
        return Ok(path);
    }
    let store = Store::find(options.place.trace_dir.as_deref(), &options.place.selection())?;
    store.resolve(options.trace.as_deref())
}

/// Open a trace file to work with it. One that did not replay when it was kept says so at once.
pub(crate) fn open(path: &Path) -> Result<Trace, CliError> {
    let trace = Trace::open(path).map_err(|error| CliError::new(Status::Recorder, error))?;
    if !trace.verified() {
        anstream::eprintln!(
            "{CAUTION}warning{CAUTION:#}: {} is not verified: it did not replay when it was recorded\n  \
             it may not show what happened; record the failure again",
            relative(path).display()
        );
    }
    Ok(trace)
}
