//! Reads a trace file.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::ahead::{Maker, Prefetch};
use super::block;
use super::damage::{contents_of, damaged, faulty};
use super::file_blocks::{FileBlocks, block_len};
use super::format10;
use super::layout::{BadHeader, Header, Index, MACHINE, StoredBlock, StoredEntry, StoredFile, VERIFIED};
use super::regular;
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::trace::event::{Event, FileId, FileRange};
use crate::trace::stream::{Chunk, Events, LONGEST};
use crate::trace::{BLOCK, Bytes, FORMAT, Machine, OLDEST, Source, TraceError, skip};

/// The index of a sound trace is far smaller. A damaged or crafted one must not fill the memory, which a few bytes
/// could that decompress to many: it has at most so many bytes, and so many for each of the file's. In whatever file, it
/// has no more than those of two million blocks of files, which are two terabytes.
const INDEX_LIMIT: u64 = 1 << 20;
const INDEX_RATIO: u64 = 64;
const INDEX_MOST: u64 = 64 << 20;

/// The same for an event. A long one has bytes that the program read or its memory had, which seldom compress that
/// well. In whatever file, it has no more than one that is written ([`LONGEST`]).
const EVENT_LIMIT: u64 = 32 << 20;
const EVENT_RATIO: u64 = 512;

/// The blocks of the mapped files have at most so many bytes together, or so many for each of the file's; and so do
/// those of the attached ones. A replay has the former in memory, all of them, and a debugger's files are the latter.
/// Programs and their libraries have some hundred megabytes, and compress to a fourth of that.
pub(super) const FILES_LIMIT: u64 = 4 << 30;
const FILES_RATIO: u64 = 16;

/// There are at most so many traces beside it of which it needs something.
const BESIDE_MOST: usize = 4096;

/// Why something cannot be a trace.
const NO_FILE: &str = "it is not a regular file";

/// A trace file, opened. Opening reads the index; events and files are read as they are asked for.
#[derive(Debug)]
pub struct Trace {
    /// The file, of the length on which the header and the file system agree, and those beside it.
    blocks: Arc<FileBlocks>,
    verified: bool,
    tool: String,
    format: u32,
    start_of_index: u64,
    index: Arc<Index>,
    info: serde_json::Value,
    last_block: RefCell<LastBlock>,
}

/// The block of a file that was read last. What a program maps of a file is often in one block, several times.
#[derive(Debug, Default)]
struct LastBlock {
    /// The file's number and the block's, once it is read.
    of: Option<(u32, u64)>,
    bytes: Arc<Vec<u8>>,
}

/// A mapped or attached file in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedFile<'a> {
    /// Its name.
    pub path: &'a Path,
    /// How many bytes of it there are.
    pub bytes: u64,
    /// How many bytes of the trace they take.
    pub stored: u64,
}

impl Trace {
    /// Open a trace file.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, foreign or of another version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidInput => TraceError::NotATrace { path: path.to_owned(), why: NO_FILE },
            _ => TraceError::Read { path: path.to_owned(), source },
        };
        let (file, _) = regular::open(path).map_err(failed)?;
        Self::from_file(file, path)
    }

    /// Read an open trace file, which need not have a name: `path` serves messages only.
    ///
    /// # Errors
    /// As [`Trace::open`].
    pub fn from_file(file: File, path: &Path) -> Result<Self, TraceError> {
        let path = path.to_owned();
        let metadata = file.metadata().map_err(|source| TraceError::Read { path: path.clone(), source })?;
        if !metadata.is_file() {
            return Err(TraceError::NotATrace { path, why: NO_FILE });
        }
        let header = read_header(&file, metadata.len(), &path)?;
        let index = read_index(&file, &header, &path)?;
        let info = serde_json::from_str(&index.info)
            .map_err(|error| damaged(&path, "description", &error.to_string()))?;
        let blocks = Arc::new(FileBlocks::new(file, header.len, &path, &index.beside)?);
        Ok(Self {
            blocks,
            verified: header.mark == VERIFIED,
            tool: header.tool,
            format: header.format,
            start_of_index: header.index,
            index: Arc::new(index),
            info,
            last_block: RefCell::default(),
        })
    }

    /// How the recorded program ended.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.index.ending
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.index.stats
    }

    /// Whether it has replayed once before it was kept.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// What was recorded.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.index.program
    }

    /// The description that whoever kept the trace gave it.
    #[must_use]
    pub fn info(&self) -> &serde_json::Value {
        &self.info
    }

    /// The version of cargo-rrtest that made it.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The version of its format.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.format
    }

    /// How many events it has.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.index.count
    }

    /// The mapped files that it carries, by their numbers ([`super::event::FileId`]).
    pub fn files(&self) -> impl Iterator<Item = CarriedFile<'_>> {
        let starts = self.starts();
        self.index.files.iter().map(move |file| carried(file, &starts, |_| true))
    }

    /// The files that are attached for who debugs or explains the failure; of these, `stored` is what they take beyond
    /// what is mapped as well.
    pub fn attached(&self) -> impl Iterator<Item = CarriedFile<'_>> {
        let starts = self.starts();
        let mapped = self.index.files.iter().flat_map(|file| file.blocks.values());
        let mapped: HashSet<u64> = mapped.filter_map(StoredBlock::here).collect();
        self.index.attached.iter().map(move |file| carried(file, &starts, |at| !mapped.contains(&at)))
    }

    /// Where the blocks of files start, ascending, and where the last one ends.
    fn starts(&self) -> Vec<u64> {
        let files = self.index.files.iter().chain(&self.index.attached);
        let blocks = files.flat_map(|file| file.blocks.values()).filter_map(StoredBlock::here);
        let mut starts: Vec<_> = blocks.chain([self.start_of_index]).collect();
        starts.sort_unstable();
        starts
    }

    /// The blocks of its mapped and attached files that it has itself: digests and offsets.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u128, u64)> {
        let files = self.index.files.iter().chain(&self.index.attached);
        let all = files.flat_map(|file| file.blocks.values());
        all.filter_map(|block| Some((block.digest, block.here()?)))
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn file_blocks(&self) -> &FileBlocks {
        &self.blocks
    }

    pub(super) fn start_of_index(&self) -> u64 {
        self.start_of_index
    }

    /// The names of the traces beside it that have contents of its mapped files. None if it stands alone.
    #[must_use]
    pub fn beside(&self) -> &[OsString] {
        &self.index.beside
    }

    /// How many bytes of it are the events.
    #[must_use]
    pub fn size_of_events(&self) -> u64 {
        self.index.events.1.saturating_sub(self.index.events.0)
    }

    /// The blocks of the event stream from the one at this offset on.
    fn stream(&self, mut at: u64) -> impl Iterator<Item = Result<Chunk<'_>, TraceError>> {
        let (entries, end) = (&self.index.entries, self.index.events.1);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let block = block::read(self.blocks.file(), at, end.min(self.blocks.len()));
            let entry = entries.binary_search_by_key(&at, |entry| entry.at).ok();
            Some(match block {
                Ok((bytes, next)) => {
                    at = next;
                    let entry = entry.and_then(|entry| entries.get(entry)).map(|entry| entry.event);
                    Ok(Chunk { bytes: Cow::Owned(bytes), entry })
                }
                Err(fault) => {
                    at = end;
                    Err(faulty(self.blocks.path(), "events", fault))
                }
            })
        })
    }
}

impl Source for Trace {
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        self.events_from(0)
    }

    fn events_from(&self, at: u64) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        let entries = &self.index.entries;
        let entry = entries.partition_point(|entry| entry.event <= at).checked_sub(1);
        let (first, offset) = entry
            .and_then(|entry| entries.get(entry))
            .map_or((0, self.index.events.0), |entry| (entry.event, entry.at));
        let most = most_of(EVENT_LIMIT, EVENT_RATIO, self.blocks.len()).min(LONGEST.into());
        let events = Events::new(self.stream(offset), first, self.blocks.path().to_owned()).at_most(most);
        skip(Box::new(events), at.saturating_sub(first))
    }

    fn name(&self, file: FileId) -> Option<&Path> {
        self.index.files.get(file.0 as usize).map(|file| Path::new(&file.path))
    }

    fn machine(&self) -> &Machine {
        &self.index.machine
    }

    fn file(&self, range: FileRange) -> Result<Bytes, TraceError> {
        let number = range.file.0;
        let Some(file) = self.index.files.get(number as usize) else {
            return Err(damaged(self.blocks.path(), "events", &format!("there is no file number {number}")));
        };
        let end = range.offset.saturating_add(range.len).min(file.size);
        let mut bytes = Vec::new();
        let mut at = range.offset;
        while at < end {
            let (block_number, skip) = (at / BLOCK, at % BLOCK);
            let block = self.block(number, file, block_number)?;
            let until = BLOCK.min(end - block_number * BLOCK);
            let inside = skip as usize..until as usize;
            let Some(some) = block.get(inside.clone()) else {
                return Err(damaged(self.blocks.path(), &contents_of(file), "a block is too short"));
            };
            if some.len() as u64 == end - range.offset {
                return Ok(Bytes { block, range: inside });
            }
            bytes.extend_from_slice(some);
            at += some.len() as u64;
        }
        Ok(bytes.into())
    }

    fn most_of_files(&self) -> u64 {
        most_of_files(self.blocks.len())
    }

    fn prefetch(&self) -> Prefetch {
        Prefetch::start(Maker::new(Arc::clone(&self.index), Arc::clone(&self.blocks)))
    }

    fn origin(&self) -> (&Path, &str) {
        (self.blocks.path(), &self.tool)
    }
}

impl Trace {
    /// A block of a file's contents: the one that was read last, if it is that.
    fn block(&self, id: u32, file: &StoredFile, number: u64) -> Result<Arc<Vec<u8>>, TraceError> {
        let mut last = self.last_block.borrow_mut();
        if last.of != Some((id, number)) {
            let Some(stored) = file.blocks.get(&number) else {
                return Err(damaged(self.blocks.path(), &contents_of(file), "a mapped part is not there"));
            };
            let bytes = self.blocks.read(file, stored)?;
            *last = LastBlock { of: Some((id, number)), bytes: Arc::new(bytes) };
        }
        Ok(Arc::clone(&last.bytes))
    }
}

/// What a trace has of a file, whose blocks end where the next of these starts; counting what it takes of those only
/// that `counts`.
fn carried<'a>(file: &'a StoredFile, starts: &[u64], counts: impl Fn(u64) -> bool) -> CarriedFile<'a> {
    let bytes = |number: &u64| block_len(file, *number);
    let stored = |block: &StoredBlock| {
        let Some(at) = block.here().filter(|at| counts(*at)) else { return 0 };
        let next = starts.get(starts.partition_point(|other| *other <= at));
        next.map_or(0, |next| next - at)
    };
    CarriedFile {
        path: Path::new(&file.path),
        bytes: file.blocks.keys().map(bytes).fold(0, u64::saturating_add),
        // Offsets of a damaged index can be anything.
        stored: file.blocks.values().map(stored).fold(0, u64::saturating_add),
    }
}

fn read_header(file: &File, len: u64, path: &Path) -> Result<Header, TraceError> {
    let path = path.to_owned();
    let mut start = [0; Header::LEN];
    let there = len.min(Header::LEN as u64) as usize;
    if let Err(source) = file.read_exact_at(&mut start[..there], 0) {
        return Err(TraceError::Read { path, source });
    }
    if let Some(why) = foreign(&start[..there]) {
        return Err(TraceError::NotATrace { path, why });
    }
    if there < Header::LEN {
        return Err(TraceError::Truncated { path, len, expected: Header::LEN as u64 });
    }
    let header = match Header::decode(&start) {
        Ok(header) => header,
        Err(BadHeader::Foreign) => {
            return Err(TraceError::NotATrace { path, why: "it has a wrong magic number" });
        }
        Err(BadHeader::Damaged) => return Err(damaged(&path, "header", "a checksum does not match")),
    };
    let Header { format, tool, .. } = &header;
    if *format > FORMAT {
        return Err(TraceError::Newer { path, format: *format, tool: tool.clone() });
    }
    if *format < OLDEST {
        return Err(TraceError::Older { path, format: *format, tool: tool.clone() });
    }
    if header.machine != MACHINE {
        return Err(TraceError::Machine { path, machine: header.machine });
    }
    match len.cmp(&header.len) {
        std::cmp::Ordering::Less => Err(TraceError::Truncated { path, len, expected: header.len }),
        std::cmp::Ordering::Greater => {
            Err(damaged(&path, "end", &format!("{} bytes too many follow it", len - header.len)))
        }
        std::cmp::Ordering::Equal => Ok(header),
    }
}

/// How a file's first bytes show that it is no trace.
fn foreign(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        Some("it is empty")
    } else if start.starts_with(b"PK\x03\x04") {
        Some("it is a zip archive; unpack it first")
    } else if !Header::is_start_of_trace(start) {
        Some("it has a wrong magic number")
    } else {
        None
    }
}

/// The most bytes of something in a file of this length.
fn most_of(limit: u64, ratio: u64, len: u64) -> u64 {
    limit.saturating_add(ratio.saturating_mul(len))
}

/// The most bytes of mapped files, and of attached ones, in a trace of this length.
fn most_of_files(len: u64) -> u64 {
    FILES_LIMIT.max(FILES_RATIO.saturating_mul(len))
}

fn read_index(file: &File, header: &Header, path: &Path) -> Result<Index, TraceError> {
    let most = most_of(INDEX_LIMIT, INDEX_RATIO, header.len).min(INDEX_MOST);
    let mut bytes = Vec::new();
    let mut at = header.index;
    while at < header.len {
        if bytes.len() as u64 > most {
            return Err(damaged(path, "index", "it is longer than can be"));
        }
        let (block, next) =
            block::read(file, at, header.len).map_err(|fault| faulty(path, "index", fault))?;
        bytes.extend_from_slice(&block);
        at = next;
    }
    let decoded = match header.format {
        10 => postcard::take_from_bytes(&bytes).map(|(index, rest)| (format10::Index::into(index), rest)),
        _ => postcard::take_from_bytes(&bytes),
    };
    match decoded {
        Ok((index, [])) if !are_in_order(&index) => {
            Err(damaged(path, "index", "its entries are not those of events"))
        }
        Ok((index, [])) if !are_apart(&index) => {
            Err(damaged(path, "index", "parts of files are in the same place"))
        }
        Ok((index, [])) if index.beside.len() > BESIDE_MOST => {
            Err(damaged(path, "index", "it names more traces beside it than can be"))
        }
        Ok((index, [])) if bytes_of(&index.files) > most_of_files(header.len) => {
            Err(damaged(path, "index", "it has more of mapped files than can be"))
        }
        Ok((index, [])) if bytes_of(&index.attached) > most_of_files(header.len) => {
            Err(damaged(path, "index", "it has more of attached files than can be"))
        }
        Ok((index, [])) => Ok(index),
        Ok(_) => Err(damaged(path, "index", "bytes are left over")),
        Err(error) => Err(damaged(path, "index", &error.to_string())),
    }
}

/// Whether decoding can begin where the index says: at blocks of the events, the first of them first.
fn are_in_order(index: &Index) -> bool {
    let (start, end) = index.events;
    let first = index.entries.first().is_none_or(|entry| (entry.event, entry.at) == (0, start));
    let ordered = |pair: &[StoredEntry]| pair[0].event < pair[1].event && pair[0].at < pair[1].at;
    first && index.entries.windows(2).all(ordered) && index.entries.iter().all(|entry| entry.at < end.max(1))
}

/// Whether no block is said to be that of several parts of files: what is mapped of files is then no more than the
/// trace has. The same holds for the attached files.
fn are_apart(index: &Index) -> bool {
    [&index.files, &index.attached].into_iter().all(|files| {
        let blocks = files.iter().flat_map(|file| file.blocks.values()).filter_map(StoredBlock::here);
        let mut blocks: Vec<_> = blocks.collect();
        blocks.sort_unstable();
        blocks.windows(2).all(|pair| pair[0] < pair[1])
    })
}

/// How many bytes the blocks of files have, those of other traces too: any block can be named any number of times.
fn bytes_of(files: &[StoredFile]) -> u64 {
    let blocks = files.iter().flat_map(|file| file.blocks.keys().map(move |number| block_len(file, *number)));
    blocks.fold(0, u64::saturating_add)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
