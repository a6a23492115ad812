//! Writes a recording into a file.

use std::io;
use std::os::unix::fs::FileExt;

use super::block::{BLOCK, BlockWriter};
use super::file::{
    FORMAT, Header, Index, MACHINE, MARK_AT, StoredBlock, StoredEntry, StoredFile, UNVERIFIED, VERIFIED,
};
use super::log::Log;
use super::mapped::MappedFile;
use super::originals::digest;
use super::unnamed::Unnamed;
use super::{Source, TraceError};
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::tracee;

/// The most threads that compress at the same time: this one reads what they compress, which is not much faster.
const HELPERS: usize = 4;

/// What a trace says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What was recorded.
    pub program: Program,
    /// How it ended.
    pub ending: Ending,
    /// What was counted.
    pub stats: Stats,
    /// The description that whoever keeps the trace gives it.
    pub info: serde_json::Value,
}

/// Write a recording as a trace, not yet verified, into an empty file.
///
/// # Errors
/// [`TraceError::Write`] if the file cannot take it (the disk is full), [`TraceError::Modified`] or
/// [`TraceError::Mapped`] if a mapped file cannot be read any more, [`TraceError::Spill`] or [`TraceError::Unwritable`]
/// if the recording is incomplete.
pub fn write(log: &Log, head: &Head, out: &Unnamed) -> Result<(), TraceError> {
    log.check()?;
    Writer::new(out).write(log, head)
}

/// Mark a written trace as one that has replayed.
///
/// # Errors
/// [`TraceError::Write`].
pub fn mark_verified(out: &Unnamed) -> Result<(), TraceError> {
    out.file().write_all_at(&VERIFIED, MARK_AT).map_err(|source| refused(out, Header::LEN as u64, source))
}

/// A part of a file that has been written.
struct Part {
    /// The number of the block of the file, and of the one of the trace.
    number: u64,
    block: usize,
    digest: u128,
}

struct Writer<'a> {
    out: &'a Unnamed,
    /// How much of the file is written.
    at: u64,
}

impl<'a> Writer<'a> {
    fn new(out: &'a Unnamed) -> Self {
        Self { out, at: Header::LEN as u64 }
    }

    fn write(mut self, log: &Log, head: &Head) -> Result<(), TraceError> {
        let mut blocks = self.blocks(helpers())?;
        let mut entries = Vec::new();
        for chunk in log.stream(0) {
            let chunk = chunk?;
            if let Some(event) = chunk.entry {
                entries.push((event, self.flush(&mut blocks)?));
            }
            self.append(&mut blocks, &chunk.bytes)?;
        }
        let end_of_events = self.flush(&mut blocks)?;
        let parts: Vec<_> =
            log.files().iter().map(|file| self.file(&mut blocks, file)).collect::<Result<_, _>>()?;
        let bounds = self.finish(blocks)?;
        let stored = |part: Part| (part.number, StoredBlock { at: bounds[part.block], digest: part.digest });
        let files = log.files().iter().zip(parts).map(|(file, parts)| StoredFile {
            path: file.path.clone().into_os_string(),
            size: file.size(),
            blocks: parts.into_iter().map(stored).collect(),
        });
        let index = Index {
            machine: log.machine().clone(),
            program: head.program.clone(),
            ending: head.ending.clone(),
            stats: head.stats,
            info: head.info.to_string(),
            events: (bounds[0], bounds[end_of_events]),
            count: log.count(),
            entries: entries
                .into_iter()
                .map(|(event, block)| StoredEntry { event, at: bounds[block] })
                .collect(),
            files: files.collect(),
        };
        let index = postcard::to_stdvec(&index).map_err(|error| TraceError::Unwritable(error.to_string()))?;
        let at = self.at;
        let mut blocks = self.blocks(0)?;
        self.append(&mut blocks, &index)?;
        self.finish(blocks)?;
        self.header(at)
    }

    /// Write the parts of a file that are needed.
    fn file(&self, blocks: &mut BlockWriter<'_>, file: &MappedFile) -> Result<Vec<Part>, TraceError> {
        let mut parts = Vec::new();
        for number in file.blocks() {
            let block = self.flush(blocks)?;
            let bytes = file.read(number * BLOCK, BLOCK)?;
            self.append(blocks, &bytes)?;
            parts.push(Part { number, block, digest: digest(&bytes) });
        }
        self.flush(blocks)?;
        Ok(parts)
    }

    fn blocks(&self, helpers: usize) -> Result<BlockWriter<'a>, TraceError> {
        BlockWriter::new(self.out.file(), self.at, helpers)
            .map_err(|source| refused(self.out, self.at, source))
    }

    fn append(&self, blocks: &mut BlockWriter<'_>, bytes: &[u8]) -> Result<(), TraceError> {
        blocks.append(bytes).map_err(|source| refused(self.out, blocks.written(), source))
    }

    fn flush(&self, blocks: &mut BlockWriter<'_>) -> Result<usize, TraceError> {
        blocks.flush().map_err(|source| refused(self.out, blocks.written(), source))
    }

    fn finish(&mut self, blocks: BlockWriter<'_>) -> Result<Vec<u64>, TraceError> {
        let written = blocks.written();
        let bounds = blocks.finish().map_err(|source| refused(self.out, written, source))?;
        self.at = bounds.last().copied().unwrap_or(self.at);
        Ok(bounds)
    }

    fn header(self, index: u64) -> Result<(), TraceError> {
        let header = Header {
            format: FORMAT,
            machine: MACHINE,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            len: self.at,
            index,
            mark: UNVERIFIED,
        };
        self.out.file().write_all_at(&header.encode(), 0).map_err(|source| refused(self.out, self.at, source))
    }
}

/// How many threads compress: as many as there are cores, if there are others than the one that was recorded on.
fn helpers() -> usize {
    match tracee::core_count() {
        1 => 0,
        cores => cores.min(HELPERS),
    }
}

fn refused(out: &Unnamed, written: u64, source: io::Error) -> TraceError {
    TraceError::Write { directory: out.directory().to_owned(), written, source }
}
