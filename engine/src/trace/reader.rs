//! Reads a trace file.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::ahead::{Maker, Prefetch};
use super::block::{self, BLOCK, Fault};
use super::event::{Event, FileId, FileRange};
use super::file::{
    BadHeader, FORMAT, Header, Index, MACHINE, OLDEST, StoredBlock, StoredEntry, StoredFile, VERIFIED,
};
use super::file_blocks::{FileBlocks, block_len};
use super::stream::{Chunk, Events};
use super::{Bytes, Machine, Source, TraceError, skip};
use crate::ending::{Ending, Stats};
use crate::program::Program;

/// The index of a sound trace is far smaller. A damaged or crafted one must not fill the memory, which a few bytes could
/// that decompress to many: it has at most so many bytes, and so many for each of the file's.
const INDEX_LIMIT: u64 = 1 << 20;
const INDEX_RATIO: u64 = 64;

/// The same for an event. A long one has bytes that the program read or its memory had, which seldom compress that well.
const EVENT_LIMIT: u64 = 32 << 20;
const EVENT_RATIO: u64 = 512;

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

/// A mapped file in a trace.
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
        let read = |source| TraceError::Read { path: path.to_owned(), source };
        // Not to wait for a writer, should it be a FIFO.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(read)?;
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
            return Err(TraceError::NotATrace { path, why: "it is not a regular file" });
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
        let blocks =
            self.index.files.iter().flat_map(|file| file.blocks.values()).filter_map(StoredBlock::here);
        let mut starts: Vec<_> = blocks.chain([self.start_of_index]).collect();
        starts.sort_unstable();
        self.index.files.iter().map(move |file| {
            let bytes = |number: &u64| block_len(file, *number);
            let stored = |block: &StoredBlock| {
                let Some(at) = block.here() else { return 0 };
                let next = starts.get(starts.partition_point(|other| *other <= at));
                next.map_or(0, |next| next - at)
            };
            CarriedFile {
                path: Path::new(&file.path),
                bytes: file.blocks.keys().map(bytes).sum(),
                // Offsets of a damaged index can be anything.
                stored: file.blocks.values().map(stored).fold(0, u64::saturating_add),
            }
        })
    }

    /// The blocks of its mapped files that it has itself: digests and offsets.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u128, u64)> {
        let all = self.index.files.iter().flat_map(|file| file.blocks.values());
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
        let most = EVENT_LIMIT.saturating_add(EVENT_RATIO.saturating_mul(self.blocks.len()));
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

pub(super) fn contents_of(file: &StoredFile) -> String {
    format!("contents of `{}`", Path::new(&file.path).display())
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

fn read_index(file: &File, header: &Header, path: &Path) -> Result<Index, TraceError> {
    let most = INDEX_LIMIT.saturating_add(INDEX_RATIO.saturating_mul(header.len));
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
    match postcard::take_from_bytes(&bytes) {
        Ok((index, [])) if !are_in_order(&index) => {
            Err(damaged(path, "index", "its entries are not those of events"))
        }
        Ok((index, [])) if !are_apart(&index) => {
            Err(damaged(path, "index", "parts of files are in the same place"))
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

/// Whether no block is said to be that of several parts of files: what is mapped of files is then no more than the trace has.
fn are_apart(index: &Index) -> bool {
    let blocks = index.files.iter().flat_map(|file| file.blocks.values()).filter_map(StoredBlock::here);
    let mut blocks: Vec<_> = blocks.collect();
    blocks.sort_unstable();
    blocks.windows(2).all(|pair| pair[0] < pair[1])
}

pub(super) fn faulty(path: &Path, part: &str, fault: Fault) -> TraceError {
    match fault {
        // The file was as long as it should be when it was opened.
        Fault::Read(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            damaged(path, part, "the file became shorter")
        }
        Fault::Read(source) => TraceError::Read { path: path.to_owned(), source },
        Fault::Damaged(what) => damaged(path, part, what),
    }
}

pub(super) fn damaged(path: &Path, part: &str, what: &str) -> TraceError {
    TraceError::Damaged { path: path.to_owned(), what: format!("{part}: {what}") }
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::trace::Ready;
    use crate::trace::block::BlockWriter;
    use crate::trace::event::{FileId, Load};
    use crate::trace::file::Place;
    use crate::trace::file::{MARK_AT, UNVERIFIED};
    use crate::trace::log::Log;
    use crate::trace::testing::{self, in_own_process};
    use crate::trace::unnamed::Unnamed;
    use crate::trace::writer::{self, Head};

    /// All that a trace tells.
    #[derive(Debug, PartialEq)]
    struct Told {
        verified: bool,
        head: Head,
        events: Vec<Event>,
        files: Vec<Vec<u8>>,
    }

    fn tell(trace: &Trace) -> Result<Told, TraceError> {
        let whole = |number| {
            let range = FileRange { file: FileId(number as u32), offset: 0, len: u64::MAX };
            trace.file(range).map(|bytes| bytes.to_vec())
        };
        Ok(Told {
            verified: trace.verified(),
            head: Head {
                program: trace.program().clone(),
                ending: trace.ending().clone(),
                stats: trace.stats(),
                info: trace.info().clone(),
            },
            events: trace.events().collect::<Result<_, _>>()?,
            files: (0..trace.files().count()).map(whole).collect::<Result<_, _>>()?,
        })
    }

    fn head(ending: Ending) -> Head {
        let odd = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
        Head {
            program: Program {
                path: odd(b"/not utf-8/\xff"),
                args: vec!["--exact".into(), OsString::from("name")],
                env: vec![("PATH".into(), "/bin".into())],
                cwd: odd(b"/\xfe"),
            },
            ending,
            stats: Stats { ticks: u64::MAX, preemptions: 1, syscalls: 2, tasks: 3 },
            info: serde_json::json!({"test": "a::b", "seed": u64::MAX, "list": [1.5, null, true]}),
        }
    }

    fn log() -> Log {
        let mut log = Log::default();
        testing::every_kind().into_iter().for_each(|event| log.push(event));
        log.map_bytes(Path::new("libc.so"), (0..5000_u32).map(|n| (n >> 5) as u8).collect());
        log.map_bytes(Path::new("empty"), Vec::new());
        log
    }

    fn write(log: &Log, head: &Head) -> Unnamed {
        let out = Unnamed::create(&std::env::temp_dir()).unwrap();
        writer::write(log, head, &[], &out).unwrap();
        out
    }

    fn reopen(out: &Unnamed) -> Result<Trace, TraceError> {
        Trace::from_file(out.file().try_clone().unwrap(), Path::new("flaky.rrtrace"))
    }

    /// The bytes of a small trace with something of everything.
    fn small() -> Vec<u8> {
        let out = write(&log(), &head(testing::every_ending()[1].clone()));
        let mut bytes = vec![0; out.file().metadata().unwrap().len() as usize];
        out.file().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// Read everything of a file with these bytes.
    fn read(bytes: &[u8]) -> Result<Told, TraceError> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        tell(&Trace::from_file(file, Path::new("flaky.rrtrace"))?)
    }

    #[test]
    fn gives_back_what_was_written() {
        for ending in testing::every_ending() {
            let (log, head) = (log(), head(ending));
            let out = write(&log, &head);
            let mut expected = Told {
                verified: false,
                head,
                events: testing::every_kind(),
                files: vec![(0..5000_u32).map(|n| (n >> 5) as u8).collect(), Vec::new()],
            };
            let trace = reopen(&out).unwrap();
            assert_eq!(tell(&trace).unwrap(), expected);
            assert_eq!(trace.count(), log.count());
            assert_eq!(trace.tool(), env!("CARGO_PKG_VERSION"));
            let files: Vec<_> = trace.files().collect();
            let stored: Vec<_> = files.iter().map(|file| file.stored).collect();
            let files: Vec<_> = files.iter().map(|file| (file.path, file.bytes)).collect();
            assert_eq!(files, [(Path::new("libc.so"), 5000), (Path::new("empty"), 0)]);
            // After the events come the files, and then the index.
            let files_start = Header::LEN as u64 + trace.size_of_events();
            assert_eq!(stored, [trace.start_of_index - files_start, 0]);

            writer::mark_verified(&out).unwrap();
            expected.verified = true;
            assert_eq!(tell(&reopen(&out).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn carries_only_the_mapped_parts_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("big");
        let bytes: Vec<u8> = (0..BLOCK * 5 / 2).map(|n| ((n * n) >> 9) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let file = File::open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut log = Log::default();
        let first = log.map_file(&path, file, 10, 100).unwrap();
        let last = FileRange { offset: BLOCK * 2 - 7, len: BLOCK * 9, ..first };
        log.map_file(&path, File::open(&path).unwrap(), last.offset, last.len).unwrap();
        let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
        assert!(*trace.file(first).unwrap() == bytes[10..110]);
        assert!(*trace.file(last).unwrap() == bytes[BLOCK as usize * 2 - 7..], "it ends where the file ends");
        assert!(trace.file(FileRange { offset: u64::MAX, ..last }).unwrap().is_empty());
        // What somebody still has of a block stays when another one is read.
        let held = trace.file(first).unwrap();
        assert!(
            *trace.file(FileRange { offset: BLOCK, len: 9, ..first }).unwrap()
                == bytes[BLOCK as usize..][..9]
        );
        assert!(*held == bytes[10..110]);
        let between = FileRange { offset: BLOCK / 2, len: BLOCK, ..first };
        assert!(trace.file(between).is_ok());
        assert_eq!(
            trace.files().next().map(|file| (file.path, file.bytes)),
            Some((path.as_path(), BLOCK * 5 / 2))
        );

        let mut log = Log::default();
        let only = log.map_file(&path, File::open(&path).unwrap(), last.offset + 7, 1).unwrap();
        let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
        assert_eq!(trace.files().next().map(|file| file.bytes), Some(BLOCK / 2));
        assert!(trace.file(only).is_ok());
        assert!(trace.file(first).is_err(), "what was not mapped is not there");
    }

    /// A trace of a file of which two parts in different blocks are mapped, and of bytes that are no file's.
    fn with_a_file(path: &Path, bytes: &[u8]) -> (Unnamed, [FileRange; 3]) {
        fs::write(path, bytes).unwrap();
        let open = || File::open(path).unwrap();
        open().set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut log = Log::default();
        let first = log.map_file(path, open(), 10, 100).unwrap();
        let last = log.map_file(path, open(), BLOCK * 2, BLOCK * 9).unwrap();
        let captured = log.map_bytes(Path::new("captured"), b"bytes".to_vec());
        let captured = FileRange { file: captured, offset: 0, len: 5 };
        (write(&log, &head(Ending::Exited(0))), [first, last, captured])
    }

    #[test]
    fn files_are_got_ready_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("big");
        let bytes: Vec<u8> = (0..BLOCK * 5 / 2).map(|n| ((n * n) >> 9) as u8).collect();
        let (out, [first, last, captured]) = with_a_file(&path, &bytes);
        let trace = reopen(&out).unwrap();
        let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        for now in [Some(&bytes), Some(&other), None] {
            fs::remove_file(&path).unwrap();
            now.inspect(|now| fs::write(&path, now).unwrap());
            let prefetch = trace.prefetch();
            let ready = |range: FileRange| prefetch.take(range.file).unwrap();
            // Another replay of the trace has its own.
            let beside = trace.prefetch();
            assert!(beside.take(first.file).unwrap().is_some());
            let Ready { file, parts } = ready(first).unwrap();
            let mut made = vec![0; bytes.len()];
            file.read_exact_at(&mut made, 0).unwrap();
            assert!(made[10..110] == bytes[10..110]);
            assert!(made[BLOCK as usize * 2..] == bytes[BLOCK as usize * 2..]);
            assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);

            let have = |at, contents| parts.have(&Load { at, contents });
            assert!(have(10, first) && have(BLOCK * 2, last));
            assert!(!have(11, first), "it goes elsewhere");
            assert!(!have(BLOCK, FileRange { offset: BLOCK, ..first }), "this was not mapped");
            assert!(!have(0, captured), "this is another file's");

            assert!(ready(first).is_none(), "it was given away");
            assert!(
                ready(captured).is_some_and(|ready| ready.parts.have(&Load { at: 0, contents: captured }))
            );
            assert!(ready(FileRange { file: FileId(9), ..captured }).is_none());
            prefetch.finish().unwrap();
            assert!(beside.take(captured.file).unwrap().is_some());
            fs::write(&path, "").unwrap();
        }
        let prefetch = trace.prefetch();
        let ready = |range: FileRange| prefetch.take(range.file).unwrap();
        assert!(ready(captured).is_some());
        assert!(ready(first).is_none(), "it was passed over");
        assert!(trace.file(first).is_ok());
    }

    #[test]
    fn damage_shows_where_a_file_is_got_ready_from_its_own_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("big");
        let (out, [first, _, captured]) = with_a_file(&path, &[7; 3 << 20]);
        let trace = reopen(&out).unwrap();
        let (_, block) = trace.index.files[0].blocks.first_key_value().unwrap();
        let mut byte = [0];
        out.file().read_exact_at(&mut byte, block.here().unwrap() + 20).unwrap();
        out.file().write_all_at(&[byte[0] ^ 1], block.here().unwrap() + 20).unwrap();
        let error = |result: Result<(), TraceError>| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("big`: a checksum does not match"), "{error}");
        };
        error(trace.prefetch().finish());
        let prefetch = trace.prefetch();
        assert!(prefetch.take(first.file).unwrap().is_some(), "it is there without the trace");
        error(prefetch.finish());
        fs::remove_file(&path).unwrap();
        let prefetch = trace.prefetch();
        error(prefetch.take(first.file).map(drop));
        assert!(prefetch.take(captured.file).unwrap().is_some(), "another file is sound");
    }

    #[test]
    fn a_loop_of_equal_calls_takes_next_to_nothing() {
        let mut log = Log::default();
        for n in 0..100_000 {
            let mut event = testing::output(1, 20);
            event.position_mut().unwrap().left = 7 * (100_000 - n);
            log.push(event);
        }
        let out = write(&log, &head(Ending::Exited(0)));
        let len = out.file().metadata().unwrap().len();
        assert!(len < 16 << 10, "{len} bytes");
        assert_eq!(reopen(&out).unwrap().events().count(), 100_000);
    }

    #[test]
    fn reading_begins_at_any_event() {
        let mut log = Log::with_memory(1 << 20);
        for n in 0..40_000 {
            // Every so often one that is larger than a block, and a pattern that does not compress to nothing.
            log.push(testing::output(n, if n % 13_000 == 12_999 { 3 << 20 } else { 60 }));
        }
        let trace = reopen(&write(&log, &head(Ending::Exited(0)))).unwrap();
        assert!(trace.index.entries.len() > 3, "{:?}", trace.index.entries);
        let bounds =
            trace.index.entries.iter().flat_map(|entry| [entry.event.saturating_sub(1), entry.event]);
        for at in bounds.chain([0, 1, 12_998, 12_999, 13_000, 39_999, 40_000, u64::MAX]) {
            for source in [&log as &dyn Source, &trace] {
                let mut events = source.events_from(at);
                let next = events.next().transpose().unwrap();
                let expected = (at < 40_000).then(|| log.events().nth(at as usize).unwrap().unwrap());
                assert!(next == expected, "event {at}");
                if at > 38_000 {
                    assert_eq!(events.count() as u64, 40_000_u64.saturating_sub(at.saturating_add(1)));
                }
            }
        }
    }

    #[test]
    fn a_wrong_entry_is_noticed() {
        let mut stream = Vec::new();
        let mut encoder = crate::trace::stream::Encoder::default();
        testing::every_kind().into_iter().for_each(|event| encoder.encode(event, &mut stream).unwrap());
        let entry = |event, at| StoredEntry { event, at };
        let start = Header::LEN as u64;
        let forged = |entries: Vec<StoredEntry>| {
            forge(&stream, |end| {
                let (mut index, _) =
                    postcard::take_from_bytes::<Index>(&index((start, end), Vec::new())).unwrap();
                index.entries = entries;
                postcard::to_stdvec(&index).unwrap()
            })
        };
        assert!(forged(vec![entry(0, start)]).is_ok());
        let wrong =
            [(1, start), (0, start + 1), (0, u64::MAX), (0, 0)].map(|(event, at)| vec![entry(event, at)]);
        let order = [(0, start + 1), (1, start)].map(|(event, at)| vec![entry(0, start), entry(event, at)]);
        for entries in wrong.into_iter().chain(order) {
            assert!(forged(entries.clone()).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn a_modified_file_keeps_a_recording_from_being_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mapped");
        fs::write(&path, "before").unwrap();
        let file = File::open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut log = Log::default();
        log.map_file(&path, file, 0, 4096).unwrap();
        fs::write(&path, "after!").unwrap();
        let out = Unnamed::create(directory.path()).unwrap();
        let error = writer::write(&log, &head(Ending::Exited(0)), &[], &out).unwrap_err();
        assert!(matches!(error, TraceError::Modified(at) if at == path));
    }

    #[test]
    fn notices_every_flipped_bit() {
        let mut bytes = small();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let told = || tell(&Trace::from_file(file.try_clone().unwrap(), Path::new("flaky.rrtrace"))?);
        told().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                file.write_all_at(&bytes[at..=at], at as u64).unwrap();
                let error = told().expect_err("a flipped bit must show").to_string();
                assert!(error.contains("flaky.rrtrace"), "{error}");
                bytes[at] ^= 1 << bit;
                file.write_all_at(&bytes[at..=at], at as u64).unwrap();
            }
        }
        told().unwrap();
    }

    #[test]
    fn notices_spans_of_garbage() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let sound = small();
        let told = read(&sound).unwrap();
        for _ in 0..2000 {
            let mut bytes = sound.clone();
            let start = random.next_u64() as usize % bytes.len();
            let end = (start + 1 + random.next_u64() as usize % 600).min(bytes.len());
            match random.next_u64() % 3 {
                0 => bytes[start..end].fill(0),
                1 => random.fill_bytes(&mut bytes[start..end]),
                _ => drop(bytes.drain(start..end)),
            }
            match read(&bytes) {
                Ok(same) => assert_eq!(same, told),
                Err(error) => assert!(error.to_string().contains("flaky.rrtrace")),
            }
        }
    }

    #[test]
    fn notices_truncation_at_every_length() {
        let bytes = small();
        for len in 0..bytes.len() {
            let error = read(&bytes[..len]).unwrap_err();
            match error {
                TraceError::NotATrace { .. } if len < 8 => {}
                TraceError::Truncated { len: told, .. } if told == len as u64 => {}
                other => panic!("{len}: {other}"),
            }
        }
    }

    #[test]
    fn notices_what_follows_the_end() {
        let error = read(&[small(), vec![0]].concat()).unwrap_err();
        assert!(error.to_string().contains("1 bytes too many"), "{error}");
    }

    #[test]
    fn tells_foreign_files() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "empty"),
            (b"PK\x03\x04 and more", "unpack"),
            (b"\x7fELF", "wrong magic number"),
            (b"RRTRACF\0", "wrong magic number"),
            (&[0; 4096], "wrong magic number"),
        ];
        for (bytes, why) in cases {
            let error = read(bytes).unwrap_err();
            assert!(matches!(error, TraceError::NotATrace { .. }));
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn does_not_read_what_is_not_a_regular_file() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [directory.path(), &fifo, Path::new("/dev/zero")] {
            let error = Trace::open(path).unwrap_err();
            assert!(matches!(error, TraceError::NotATrace { .. }), "{error}");
        }
        let missing = Trace::open(&directory.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing"));
    }

    /// A small trace with another header.
    fn with_header(change: impl FnOnce(&mut Header)) -> TraceError {
        let mut bytes = small();
        let start = bytes.first_chunk().unwrap();
        let mut header = Header::decode(start).unwrap();
        change(&mut header);
        bytes[..Header::LEN].copy_from_slice(&header.encode());
        read(&bytes).unwrap_err()
    }

    #[test]
    fn tells_other_versions_and_machines() {
        let newer = with_header(|header| {
            header.format = FORMAT + 1;
            header.tool = "9.8.7".to_owned();
        });
        assert!(matches!(newer, TraceError::Newer { format, .. } if format == FORMAT + 1));
        let (made, reads) = (format!("format {}", FORMAT + 1), format!("reads format {FORMAT}"));
        for part in ["flaky.rrtrace", "9.8.7", &made, &reads, "cargo install"] {
            assert!(newer.to_string().contains(part), "{newer}");
        }
        let older = with_header(|header| header.format = 0);
        assert!(matches!(older, TraceError::Older { format: 0, .. }));
        let arm = with_header(|header| header.machine = 183);
        assert!(matches!(arm, TraceError::Machine { machine: 183, .. }));
    }

    #[test]
    fn believes_no_offset_of_the_header() {
        for index in [0, 1, 63, 64, 70, u64::MAX, u64::MAX - 12] {
            let error = with_header(|header| header.index = index);
            assert!(matches!(error, TraceError::Damaged { .. }), "{index}: {error}");
        }
        let error = with_header(|header| header.len = u64::MAX);
        assert!(matches!(error, TraceError::Truncated { expected: u64::MAX, .. }));
    }

    /// A trace with right checksums around any event stream and any index.
    fn forge(stream: &[u8], index: impl FnOnce(u64) -> Vec<u8>) -> Result<Told, TraceError> {
        let out = tempfile::tempfile().unwrap();
        let mut blocks = BlockWriter::new(&out, Header::LEN as u64, 0).unwrap();
        blocks.append(stream).unwrap();
        let at = *blocks.finish().unwrap().last().unwrap();
        let mut blocks = BlockWriter::new(&out, at, 0).unwrap();
        blocks.append(&index(at)).unwrap();
        let len = *blocks.finish().unwrap().last().unwrap();
        let (tool, mark) = (String::new(), UNVERIFIED);
        let header = Header { format: FORMAT, machine: MACHINE, tool, len, index: at, mark };
        out.write_all_at(&header.encode(), 0).unwrap();
        tell(&Trace::from_file(out, Path::new("flaky.rrtrace"))?)
    }

    fn index(events: (u64, u64), files: Vec<StoredFile>) -> Vec<u8> {
        let Head { program, ending, stats, info } = head(Ending::Exited(0));
        let info = info.to_string();
        let entries = Vec::new();
        let index = Index {
            beside: Vec::new(),
            machine: Machine::default(),
            program,
            ending,
            stats,
            info,
            events,
            count: u64::MAX,
            entries,
            files,
        };
        postcard::to_stdvec(&index).unwrap()
    }

    #[test]
    fn believes_no_length_inside() {
        in_own_process("trace::reader::tests::believes_no_length_inside", || {
            // What would be allocated for an announced length cannot be had.
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1 << 30, 1 << 30).unwrap();
            let start = Header::LEN as u64;
            let varint = [[0xff; 9].as_slice(), &[0x01]].concat();

            assert!(forge(b"", |end| index((start, end), Vec::new())).is_ok(), "the forgery itself works");
            // Events: a record of 4 GiB; a kind that does not exist; an image whose name has 2^64 bytes.
            let records = [u32::MAX.to_le_bytes().to_vec(), b"\x01\0\0\0\x7f".to_vec(), {
                let mut record = 11_u32.to_le_bytes().to_vec();
                record.push(0);
                record.extend_from_slice(&varint);
                record
            }];
            for record in records {
                assert!(forge(&record, |end| index((start, end), Vec::new())).is_err());
            }
            for events in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (start, u64::MAX), (start + 1, start + 2)]
            {
                assert!(forge(b"", |_| index(events, Vec::new())).is_err());
            }
            // Files: endless, with blocks that are not there, outside, or those of something else.
            let blocks = [vec![], vec![(0, u64::MAX)], vec![(0, start), (u64::MAX, 0)], vec![(0, 3)]];
            for blocks in blocks {
                let blocks = blocks
                    .into_iter()
                    .map(|(number, at)| (number, StoredBlock { at: Place::Here(at), digest: 0 }))
                    .collect();
                let file = StoredFile { path: OsString::new(), size: u64::MAX, blocks };
                assert!(forge(b"", |end| index((start, end), vec![file])).is_err());
            }
            // An index of 2^64 of anything.
            for front in 0..40 {
                let mut bytes = index((start, start), Vec::new());
                bytes.splice(front..front + 1, varint.iter().copied());
                let _ = forge(b"", |_| bytes);
            }
        });
    }

    #[test]
    fn a_full_disk_leaves_nothing() {
        in_own_process("trace::reader::tests::a_full_disk_leaves_nothing", || {
            use nix::sys::resource::{Resource, setrlimit};
            use nix::sys::signal::{SigHandler, Signal, signal};

            let directory = tempfile::tempdir().unwrap();
            // SAFETY: ignoring a signal installs no handler.
            unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
            setrlimit(Resource::RLIMIT_FSIZE, 300, 300).unwrap();
            let out = Unnamed::create(directory.path()).unwrap();
            let error = writer::write(&log(), &head(Ending::Exited(0)), &[], &out).unwrap_err();
            assert!(
                matches!(&error, TraceError::Write { source, .. } if source.raw_os_error() == Some(libc::EFBIG))
            );
            assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
            drop(out);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        });
    }

    #[test]
    fn an_unfinished_file_is_no_trace() {
        let mut bytes = small();
        bytes[..Header::LEN].fill(0);
        assert!(matches!(read(&bytes).unwrap_err(), TraceError::NotATrace { .. }));
    }

    #[test]
    fn only_the_mark_verifies() {
        let mut bytes = small();
        assert!(!read(&bytes).unwrap().verified);
        bytes[MARK_AT as usize..][..4].copy_from_slice(&VERIFIED);
        assert!(read(&bytes).unwrap().verified);
        bytes[MARK_AT as usize..][..4].copy_from_slice(b"VRFE");
        assert!(matches!(read(&bytes).unwrap_err(), TraceError::Damaged { .. }));
    }
}
