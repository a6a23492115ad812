//! The trace: what a recording is made of, and the file it is kept in.

mod block;
mod error;
pub mod event;
mod file;
pub mod log;
mod mapped;
#[cfg(test)]
mod samples;
mod stream;

use std::path::Path;

use crate::ending::{Ending, Stats};
use crate::program::Program;
use event::{Event, FileRange};

pub use error::TraceError;

/// What replay needs of a recording, be it in memory or in a file.
pub trait Source {
    /// The events from the first on.
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_>;

    /// The bytes of a mapped file's range; shorter than asked where the file ends.
    ///
    /// # Errors
    /// If the trace is damaged.
    fn file(&self, range: FileRange) -> Result<Vec<u8>, TraceError>;
}

/// A trace file, opened. Opening reads the head; events and files are read as they are asked for.
#[derive(Debug)]
pub struct Trace {}

impl Trace {
    /// Open a trace file.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, foreign or of another version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        Err(TraceError::NotATrace { path: path.to_owned(), why: "stub" })
    }

    /// How the recorded program ended.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &Ending::Exited(0)
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Whether it has replayed once before it was kept.
    #[must_use]
    pub fn verified(&self) -> bool {
        false
    }

    /// What was recorded.
    #[must_use]
    pub fn program(&self) -> &Program {
        unreachable!("stub")
    }

    /// The description that whoever kept the trace gave it.
    #[must_use]
    pub fn info(&self) -> &serde_json::Value {
        &serde_json::Value::Null
    }
}

impl Source for Trace {
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        Box::new(std::iter::empty())
    }

    fn file(&self, _range: FileRange) -> Result<Vec<u8>, TraceError> {
        Ok(Vec::new())
    }
}
