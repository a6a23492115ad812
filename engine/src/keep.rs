//! Keeping a recording: into a file, once it has replayed.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::error::Error;
use crate::record::Recording;

/// What became of a recording that was to be kept.
#[derive(Debug)]
pub struct Kept {
    /// Why the trace did not replay; none means that it is verified. The file is there either way.
    pub divergence: Option<Error>,
}

/// Write `recording` to a new file at `path`, replay it once on `core`, mark it verified if that was faithful, and only
/// then let the name appear. `info` is the caller's own description, given back by [`crate::trace::Trace::info`].
///
/// # Errors
/// What kept the file from being written. Nothing is left behind then.
pub fn keep(
    _recording: &Recording,
    _path: &Path,
    _info: &serde_json::Value,
    _core: usize,
    _stop: &AtomicBool,
) -> Result<Kept, Error> {
    Err(Error::NotYet)
}
