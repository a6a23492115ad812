//! The trace: what a recording is made of, and the file it is kept in.
//!
//! A recording is a [`log::Log`] while it is made. [`file::writer::write`] puts it into a file, which [`Trace`]
//! reads. Both are a [`Source`] for replay.

pub mod describe;
mod error;
pub mod event;
pub mod file;
pub mod log;
mod machine;
mod sparse;
mod stream;
#[cfg(test)]
mod testing;

use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use event::{Event, FileId, FileRange};

pub use error::TraceError;
pub use file::{Attachment, CarriedFile, Parts, Prefetch, Ready, Trace, attach, pack};
pub use machine::{Lacking, Machine};

/// The version of the format. Raise it with every change to the encoding of [`Index`] or of
/// [`super::event::Event`].
pub const FORMAT: u32 = 11;

/// The oldest version that is read.
pub const OLDEST: u32 = 10;

/// Contents of mapped files are kept in parts of so many bytes, a block of the trace each.
const BLOCK: u64 = 1 << 20;

/// What replay needs of a recording, be it in memory or in a file.
pub trait Source {
    /// The events from the first on. Nothing follows an error.
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_>;

    /// The events from the one of this number on, counted from 0. What it takes to come there depends on how many
    /// there are only where nothing better is known than to begin with the first.
    fn events_from(&self, at: u64) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        skip(self.events(), at)
    }

    /// The bytes of a mapped file's range; shorter than asked where the file ends.
    ///
    /// # Errors
    /// If the trace is damaged, or the file of a recording in memory has been modified.
    fn file(&self, range: FileRange) -> Result<Bytes, TraceError>;

    /// The name that a mapped file had, if that is known.
    fn name(&self, _file: FileId) -> Option<&Path> {
        None
    }

    /// How many bytes of mapped files a replay loads at most: somebody may have crafted the events. What was recorded
    /// here has no such bound.
    fn most_of_files(&self) -> u64 {
        u64::MAX
    }

    /// The machine on which it was recorded.
    fn machine(&self) -> &Machine;

    /// A replay begins: what takes long is got ready beside it, for this one alone.
    fn prefetch(&self) -> Prefetch {
        Prefetch::default()
    }

    /// The trace file and the version of cargo-rrtest that made it, for messages.
    fn origin(&self) -> (&Path, &str) {
        (Path::new("recording in memory"), env!("CARGO_PKG_VERSION"))
    }
}

/// What follows so many events. An error among them is what follows.
fn skip<'a>(
    mut events: Box<dyn Iterator<Item = Result<Event, TraceError>> + 'a>,
    count: u64,
) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + 'a> {
    for _ in 0..count {
        match events.next() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Box::new(std::iter::once(Err(error))),
            None => break,
        }
    }
    events
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
