//! Writes a recording into a file.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileExt;

use super::TraceError;
use super::block::{BLOCK, BlockWriter};
use super::file::{FORMAT, Header, Index, MACHINE, MARK_AT, StoredFile, UNVERIFIED, VERIFIED};
use super::log::Log;
use super::mapped::MappedFile;
use super::unnamed::Unnamed;
use crate::ending::{Ending, Stats};
use crate::program::Program;

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
    Writer::new(out)?.write(log, head)
}

/// Mark a written trace as one that has replayed.
///
/// # Errors
/// [`TraceError::Write`].
pub fn mark_verified(out: &Unnamed) -> Result<(), TraceError> {
    out.file().write_all_at(&VERIFIED, MARK_AT).map_err(|source| refused(out, Header::LEN as u64, source))
}

struct Writer<'a> {
    out: &'a Unnamed,
    blocks: BlockWriter<'a>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a Unnamed) -> Result<Self, TraceError> {
        let start = Header::LEN as u64;
        let blocks = BlockWriter::new(out.file(), start).map_err(|source| refused(out, 0, source))?;
        Ok(Self { out, blocks })
    }

    fn write(mut self, log: &Log, head: &Head) -> Result<(), TraceError> {
        let start = self.blocks.at();
        for chunk in log.stream() {
            self.append(&chunk?)?;
        }
        let end = self.flush()?;
        let files = log.files().iter().map(|file| self.file(file)).collect::<Result<_, _>>()?;
        let index = Index {
            program: head.program.clone(),
            ending: head.ending.clone(),
            stats: head.stats,
            info: head.info.to_string(),
            events: (start, end),
            count: log.count(),
            files,
        };
        let index = postcard::to_stdvec(&index).map_err(|error| TraceError::Unwritable(error.to_string()))?;
        let at = self.flush()?;
        self.append(&index)?;
        let len = self.flush()?;
        self.header(at, len)
    }

    fn file(&mut self, file: &MappedFile) -> Result<StoredFile, TraceError> {
        let mut blocks = BTreeMap::new();
        for number in file.blocks() {
            blocks.insert(number, self.blocks.at());
            self.append(&file.read(number * BLOCK, BLOCK)?)?;
            self.flush()?;
        }
        Ok(StoredFile { path: file.path.clone().into_os_string(), size: file.size(), blocks })
    }

    fn header(self, index: u64, len: u64) -> Result<(), TraceError> {
        let header = Header {
            format: FORMAT,
            machine: MACHINE,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            len,
            index,
            mark: UNVERIFIED,
        };
        self.out.file().write_all_at(&header.encode(), 0).map_err(|source| refused(self.out, len, source))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        self.blocks.append(bytes).map_err(|source| refused(self.out, self.blocks.at(), source))
    }

    fn flush(&mut self) -> Result<u64, TraceError> {
        self.blocks.flush().map_err(|source| refused(self.out, self.blocks.at(), source))?;
        Ok(self.blocks.at())
    }
}

fn refused(out: &Unnamed, written: u64, source: io::Error) -> TraceError {
    TraceError::Write { directory: out.directory().to_owned(), written, source }
}
