//! Writes a recording into a file.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileExt;

use super::block::BlockWriter;
use super::layout::{
    Header, Index, MACHINE, MARK_AT, Place, StoredBlock, StoredEntry, StoredFile, UNVERIFIED, VERIFIED,
};
use super::originals::digest;
use super::unnamed::Unnamed;
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::trace::log::Log;
use crate::trace::log::MappedFile;
use crate::trace::{BLOCK, FORMAT, Source, Trace, TraceError};
use crate::tracee;

/// The most threads that compress at the same time: this one reads what they compress, which is not much faster.
const HELPERS: usize = 4;

/// At most so many other traces are made use of: a trace that names too many is refused.
const MOST: usize = 1024;

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

/// Write a recording as a trace, not yet verified, into an empty file. Contents of mapped files that these traces in
/// the same directory have are left out, unless those need others themselves.
///
/// # Errors
/// [`TraceError::Write`] if the file cannot take it (the disk is full), [`TraceError::Modified`] or
/// [`TraceError::Mapped`] if a mapped file cannot be read any more, [`TraceError::Spill`] or [`TraceError::Unwritable`]
/// if the recording is incomplete.
pub fn write(log: &Log, head: &Head, beside: &[Trace], out: &Unnamed) -> Result<(), TraceError> {
    log.check()?;
    Writer::new(out).write(log, head, Known::of(beside))
}

/// Mark a written trace as one that has replayed.
///
/// # Errors
/// [`TraceError::Write`].
pub fn mark_verified(out: &Unnamed) -> Result<(), TraceError> {
    out.file().write_all_at(&VERIFIED, MARK_AT).map_err(|source| refused(out, Header::LEN as u64, source))
}

/// A part of a file that has been written.
pub(super) struct Part {
    /// The number of the block of the file.
    pub(super) number: u64,
    pub(super) at: Written,
    pub(super) digest: u128,
}

/// Where a part is.
pub(super) enum Written {
    /// In this block of the trace.
    Block(usize),
    /// In another trace.
    Beside(Place),
    /// Where what has been mapped of the file is.
    Mapped(Place),
}

/// The contents of files that other traces have, by digest.
pub(super) struct Known {
    blocks: HashMap<u128, Place>,
    names: Vec<OsString>,
}

impl Known {
    pub(super) fn of(traces: &[Trace]) -> Self {
        let alone = traces.iter().filter(|trace| trace.beside().is_empty()).take(MOST);
        let (mut blocks, mut names) = (HashMap::new(), Vec::new());
        for trace in alone {
            let Some(name) = trace.origin().0.file_name() else { continue };
            let number = names.len() as u32;
            for (digest, at) in trace.blocks() {
                blocks.entry(digest).or_insert(Place::Beside { trace: number, at });
            }
            names.push(name.to_owned());
        }
        Self { blocks, names }
    }

    /// Numbers the traces anew of which these parts are, and returns the names of those.
    pub(super) fn used_by<'a>(&self, parts: impl Iterator<Item = &'a mut Part>) -> Vec<OsString> {
        let mut used: Vec<u32> = Vec::new();
        for part in parts {
            if let Written::Beside(Place::Beside { trace, .. }) = &mut part.at {
                let number = used.iter().position(|known| known == trace).unwrap_or(used.len());
                if number == used.len() {
                    used.push(*trace);
                }
                *trace = number as u32;
            }
        }
        used.into_iter().filter_map(|number| self.names.get(number as usize).cloned()).collect()
    }
}

pub(super) struct Writer<'a> {
    out: &'a Unnamed,
    /// How much of the file is written.
    at: u64,
}

impl<'a> Writer<'a> {
    fn new(out: &'a Unnamed) -> Self {
        Self::at(out, Header::LEN as u64)
    }

    /// One for what follows so many bytes that are written.
    pub(super) fn at(out: &'a Unnamed, at: u64) -> Self {
        Self { out, at }
    }

    fn write(mut self, log: &Log, head: &Head, known: Known) -> Result<(), TraceError> {
        let mut blocks = self.helped()?;
        let mut entries = Vec::new();
        for chunk in log.stream(0) {
            let chunk = chunk?;
            if let Some(event) = chunk.entry {
                entries.push((event, self.flush(&mut blocks)?));
            }
            self.append(&mut blocks, &chunk.bytes)?;
        }
        let end_of_events = self.flush(&mut blocks)?;
        let mut parts: Vec<Vec<Part>> =
            log.files().iter().map(|file| self.file(&mut blocks, file, &known)).collect::<Result<_, _>>()?;
        let beside = known.used_by(parts.iter_mut().flatten());
        let bounds = self.finish(blocks)?;
        let stored = |Part { number, at, digest }: Part| {
            let at = match at {
                Written::Block(block) => Place::Here(bounds[block]),
                Written::Beside(place) | Written::Mapped(place) => place,
            };
            (number, StoredBlock { at, digest })
        };
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
            beside,
            attached: Vec::new(),
        };
        self.index(&index, false)
    }

    /// Write the index, and the header to which it belongs.
    pub(super) fn index(mut self, index: &Index, verified: bool) -> Result<(), TraceError> {
        let index = index.encode()?;
        let at = self.at;
        let mut blocks = self.blocks(0)?;
        self.append(&mut blocks, &index)?;
        self.finish(blocks)?;
        self.header(at, if verified { VERIFIED } else { UNVERIFIED })
    }

    /// Write the parts of a file that are needed.
    fn file(
        &self,
        blocks: &mut BlockWriter<'_>,
        file: &MappedFile,
        known: &Known,
    ) -> Result<Vec<Part>, TraceError> {
        let mut parts = Vec::new();
        for number in file.blocks() {
            let bytes = file.read(number * BLOCK, BLOCK)?;
            parts.push(self.part(blocks, number, &bytes, known)?);
        }
        self.flush(blocks)?;
        Ok(parts)
    }

    /// Write a part of a file as a block of its own, unless another trace has it.
    pub(super) fn part(
        &self,
        blocks: &mut BlockWriter<'_>,
        number: u64,
        bytes: &[u8],
        known: &Known,
    ) -> Result<Part, TraceError> {
        let digest = digest(bytes);
        let at = if let Some(place) = known.blocks.get(&digest) {
            Written::Beside(*place)
        } else {
            let block = self.flush(blocks)?;
            self.append(blocks, bytes)?;
            Written::Block(block)
        };
        Ok(Part { number, at, digest })
    }

    /// Begins to write blocks, which other cores compress.
    pub(super) fn helped(&self) -> Result<BlockWriter<'a>, TraceError> {
        self.blocks(helpers())
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

    pub(super) fn finish(&mut self, blocks: BlockWriter<'_>) -> Result<Vec<u64>, TraceError> {
        let written = blocks.written();
        let bounds = blocks.finish().map_err(|source| refused(self.out, written, source))?;
        self.at = bounds.last().copied().unwrap_or(self.at);
        Ok(bounds)
    }

    fn header(self, index: u64, mark: [u8; 4]) -> Result<(), TraceError> {
        let header = Header {
            format: FORMAT,
            machine: MACHINE,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            len: self.at,
            index,
            mark,
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

pub(super) fn refused(out: &Unnamed, written: u64, source: io::Error) -> TraceError {
    TraceError::Write { directory: out.directory().to_owned(), written, source }
}
