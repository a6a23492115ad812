//! The trace: what a recording is made of, and the file it is kept in.
//!
//! A recording is a [`log::Log`] while it is made. [`writer::write`] puts it into a file, which [`Trace`] reads. Both
//! are a [`Source`] for replay.

mod ahead;
mod block;
pub mod describe;
mod error;
pub mod event;
mod extents;
mod file;
pub mod inodes;
pub mod log;
mod mapped;
mod originals;
mod reader;
mod stream;
#[cfg(test)]
mod testing;
pub mod unnamed;
pub mod writer;

use std::ops::{Deref, Range};
use std::sync::Arc;

use event::{Event, FileId, FileRange};

pub use ahead::{Parts, Ready};
pub use error::TraceError;
pub use reader::{CarriedFile, Trace};

/// What replay needs of a recording, be it in memory or in a file.
pub trait Source {
    /// The events from the first on. Nothing follows an error.
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_>;

    /// The bytes of a mapped file's range; shorter than asked where the file ends.
    ///
    /// # Errors
    /// If the trace is damaged, or the file of a recording in memory has been modified.
    fn file(&self, range: FileRange) -> Result<Bytes, TraceError>;

    /// A replay begins: what takes long can be got ready beside it.
    fn begin(&self) {}

    /// A mapped file that has been got ready, for the caller alone; none if there is no such one (any more).
    ///
    /// # Errors
    /// If the trace is damaged.
    fn ready(&self, _file: FileId) -> Result<Option<Ready>, TraceError> {
        Ok(None)
    }

    /// A replay has ended.
    ///
    /// # Errors
    /// If anything is damaged that it has not needed.
    fn end(&self) -> Result<(), TraceError> {
        Ok(())
    }
}

/// Bytes of a file's contents. Its source can go on sharing the block in which it lies.
#[derive(Clone, Debug)]
pub struct Bytes {
    block: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self { range: 0..bytes.len(), block: Arc::new(bytes) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(self.range.clone()).unwrap_or_default()
    }
}
