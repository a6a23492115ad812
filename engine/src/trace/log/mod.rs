//! A recording in memory: the events as they come, and the files they refer to.

mod extents;
pub mod inodes;
mod mapped;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rrtest_preload::processor::Processor;

use crate::trace::event::{Backing, Event, FileChange, FileId, FileRange};
use crate::trace::stream::{Chunk, Encoder, Events};
use crate::trace::{Bytes, Machine, Source, TraceError, skip};
use inodes::{Identity, Inodes, Part};
pub(in crate::trace) use mapped::MappedFile;
use mapped::MappedFiles;

/// Room for a chunk of the event stream. Chunks are not moved once they are full, so a long recording costs no copying.
const CHUNK: usize = 1 << 20;

/// A chunk with less room than this counts as full: most events have fewer bytes, and what does not fit moves the
/// chunk.
const MARGIN: usize = 4096;

/// How much of the event stream is held in memory, unless said otherwise: dozens of recordings may be made side by
/// side.
const MEMORY: usize = 32 << 20;

/// Stands for a file name in errors.
const IN_MEMORY: &str = "recording in memory";

/// The log of a recording.
///
/// The encoded events fill chunks in memory up to a limit; what comes later goes to an unlinked temporary file, which
/// vanishes with the process. Appending never fails: what went wrong is kept, and told by [`Log::check`] and to whoever
/// reads the log.
#[derive(Debug)]
pub struct Log {
    /// The first chunks of the stream: full ones, but where a [`Prefix`] ends.
    chunks: Vec<Arc<Vec<u8>>>,
    /// How much memory is left for further ones.
    room: usize,
    /// What follows the full chunks.
    spill: Option<Spill>,
    /// The end of the stream.
    tail: Vec<u8>,
    /// The numbers of the first events of all chunks, then that of the tail if it has begun. Decoding can begin at
    /// each.
    entries: Vec<u64>,
    encoder: Encoder,
    count: u64,
    /// Shared with the prefix as long as it is the same.
    files: Arc<MappedFiles>,
    inodes: Arc<Inodes>,
    failure: Option<Failure>,
    machine: Arc<Machine>,
}

/// What several logs begin with. It is held once, however many there are.
#[derive(Debug)]
pub struct Prefix(Log);

impl Prefix {
    /// A log that begins like this.
    #[must_use]
    pub fn log(&self) -> Log {
        let Log { chunks, room, entries, count, files, inodes, failure, machine, .. } = &self.0;
        Log {
            chunks: chunks.clone(),
            room: *room,
            spill: None,
            tail: Vec::new(),
            entries: entries.clone(),
            encoder: Encoder::default(),
            count: *count,
            files: Arc::clone(files),
            inodes: Arc::clone(inodes),
            failure: failure.clone(),
            machine: Arc::clone(machine),
        }
    }
}

/// A temporary file with full chunks.
#[derive(Debug)]
struct Spill {
    file: File,
    /// Where each chunk ends.
    ends: Vec<u64>,
}

/// Why events are missing from a log.
#[derive(Clone, Debug)]
enum Failure {
    Spill { directory: PathBuf, source: Arc<io::Error> },
    Encode(String),
}

impl From<Failure> for TraceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Spill { directory, source } => Self::Spill { directory, source },
            Failure::Encode(what) => Self::Unwritable(what),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl Log {
    /// An empty log that holds about `memory` bytes of events in memory.
    #[must_use]
    pub fn with_memory(memory: usize) -> Self {
        Self {
            chunks: Vec::new(),
            room: memory,
            spill: None,
            tail: Vec::new(),
            entries: Vec::new(),
            encoder: Encoder::default(),
            count: 0,
            files: Arc::default(),
            inodes: Arc::default(),
            failure: None,
            machine: Machine::here(Processor::Native),
        }
    }

    /// The same, of a program that sees this processor.
    #[must_use]
    pub fn with_processor(self, processor: Processor) -> Self {
        Self { machine: Machine::here(processor), ..self }
    }

    /// Append an event.
    pub fn push(&mut self, event: Event) {
        if self.failure.is_some() {
            return;
        }
        if self.tail.capacity() == 0 {
            self.tail.reserve_exact(CHUNK);
        }
        if self.tail.is_empty() {
            self.encoder.restart();
            if self.entries.last() != Some(&self.count) {
                self.entries.push(self.count);
            }
        }
        match self.encoder.encode(event, &mut self.tail) {
            Ok(()) => self.count += 1,
            Err(what) => self.failure = Some(Failure::Encode(what)),
        }
        if self.tail.len() > CHUNK - MARGIN {
            self.retire_tail();
        }
    }

    /// What is there so far, to begin other logs with; none if it does not fit into memory.
    #[must_use]
    pub fn into_prefix(mut self) -> Option<Prefix> {
        if !self.tail.is_empty() {
            self.tail.shrink_to_fit();
            self.chunks.push(Arc::new(std::mem::take(&mut self.tail)));
        }
        self.spill.is_none().then_some(Prefix(self))
    }

    /// A range of a file that the program maps. The log holds the file open and reads it only if the recording is
    /// replayed or written; if it has been modified by then, that is [`TraceError::Modified`]. A file that is already
    /// known is not held twice. (One that was modified just now is copied: a further modification might not show.)
    ///
    /// `path` serves messages only. The range may go past the file's end.
    ///
    /// # Errors
    /// If the file is not a regular one, or cannot be read.
    pub fn map_file(&mut self, path: &Path, file: File, offset: u64, len: u64) -> io::Result<FileRange> {
        Arc::make_mut(&mut self.files).add(path, Arc::new(file), offset, len)
    }

    /// The program maps part of a file: what replay must know of it, which is nothing of what it knows already. `path`
    /// serves messages only.
    ///
    /// # Errors
    /// As [`Self::map_file`].
    pub fn map(&mut self, path: &Path, file: File, part: Part) -> io::Result<Backing> {
        Arc::make_mut(&mut self.inodes).map(Arc::make_mut(&mut self.files), path, file, part)
    }

    /// The program attaches a segment of System V shared memory (shmat(2)), whose contents are asked for if replay
    /// does not know them.
    ///
    /// # Errors
    /// Why `contents` has none.
    pub fn map_segment<E>(
        &mut self,
        identity: Identity,
        len: u64,
        contents: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Backing, E> {
        Arc::make_mut(&mut self.inodes).map_segment(Arc::make_mut(&mut self.files), identity, len, contents)
    }

    /// The program is about to change a file: if it is one that has been mapped, its contents so far are kept.
    pub fn before_change(&mut self, identity: Identity) -> bool {
        self.inodes.before_change(&mut self.files, identity)
    }

    /// The program has changed this range of a file: what replay must know of that, if the file has been mapped.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn after_change(&mut self, identity: Identity, range: Range<u64>) -> io::Result<Option<FileChange>> {
        if self.inodes.file(identity).is_none() {
            return Ok(None);
        }
        Arc::make_mut(&mut self.inodes).after_change(identity, range)
    }

    /// A file that has been mapped, open for reading.
    #[must_use]
    pub fn mapped(&self, identity: Identity) -> Option<&File> {
        self.inodes.file(identity)
    }

    /// Contents of a mapping that no file on disk will have later. `name` serves messages only.
    pub fn map_bytes(&mut self, name: &Path, bytes: Vec<u8>) -> FileId {
        Arc::make_mut(&mut self.files).capture(name, bytes)
    }

    /// How many events there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of the encoded events.
    #[must_use]
    pub fn size(&self) -> u64 {
        let held: u64 = self.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let spilled = self.spill.as_ref().map_or(0, Spill::size);
        held + spilled + self.tail.len() as u64
    }

    /// Whether all that was pushed is there.
    ///
    /// # Errors
    /// [`TraceError::Spill`] or [`TraceError::Unwritable`] if events are missing.
    pub fn check(&self) -> Result<(), TraceError> {
        self.failure.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// The files, for writing them.
    pub(in crate::trace) fn files(&self) -> &MappedFiles {
        &self.files
    }

    /// Put the full tail where it stays, and start a new one.
    fn retire_tail(&mut self) {
        let held = self.tail.capacity();
        if self.spill.is_none() && held <= self.room {
            self.room -= held;
            self.chunks.push(Arc::new(std::mem::take(&mut self.tail)));
        } else if let Err(source) = self.spill_tail() {
            self.failure = Some(Failure::Spill { directory: std::env::temp_dir(), source: Arc::new(source) });
        }
    }

    fn spill_tail(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill { file: tempfile::tempfile()?, ends: Vec::new() }),
        };
        spill.file.write_all(&self.tail)?;
        spill.ends.push(spill.size() + self.tail.len() as u64);
        self.tail.clear();
        // One large event must not be paid for to the end.
        self.tail.shrink_to(CHUNK);
        Ok(())
    }

    /// The event stream from the entry of this number on, chunk by chunk; each is an entry.
    pub(in crate::trace) fn stream(
        &self,
        from: usize,
    ) -> impl Iterator<Item = Result<Chunk<'_>, TraceError>> {
        let entries = self.entries.iter().enumerate().skip(from);
        let chunks = entries.map(|(at, first)| Ok(Chunk { bytes: self.chunk(at)?, entry: Some(*first) }));
        let failure = self.failure.clone().map(|failure| Err(failure.into()));
        chunks.chain(failure)
    }

    /// The chunk of this number.
    fn chunk(&self, at: usize) -> Result<Cow<'_, [u8]>, TraceError> {
        match (self.chunks.get(at), &self.spill) {
            (Some(held), _) => Ok(Cow::Borrowed(held)),
            (None, Some(spill)) if at - self.chunks.len() < spill.ends.len() => {
                spill.read(at - self.chunks.len()).map(Cow::Owned)
            }
            _ => Ok(Cow::Borrowed(&self.tail)),
        }
    }
}

impl Spill {
    fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn read(&self, index: usize) -> Result<Vec<u8>, TraceError> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let mut chunk = vec![0; (self.ends[index] - start) as usize];
        self.file.read_exact_at(&mut chunk, start).map_err(|source| TraceError::Spill {
            directory: std::env::temp_dir(),
            source: Arc::new(source),
        })?;
        Ok(chunk)
    }
}

impl Source for Log {
    fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        self.events_from(0)
    }

    fn events_from(&self, at: u64) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
        let entry = self.entries.partition_point(|first| *first <= at).saturating_sub(1);
        let first = self.entries.get(entry).copied().unwrap_or_default();
        let events = Events::new(self.stream(entry), first, PathBuf::from(IN_MEMORY));
        skip(Box::new(events), at.saturating_sub(first))
    }

    fn name(&self, file: FileId) -> Option<&Path> {
        self.files.get(file).map(|file| file.path.as_path())
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn file(&self, range: FileRange) -> Result<Bytes, TraceError> {
        match self.files.get(range.file) {
            Some(file) => file.read(range.offset, range.len).map(Bytes::from),
            None => Err(TraceError::Damaged {
                path: PathBuf::from(IN_MEMORY),
                what: format!("it refers to a file number {} that it does not have", range.file.0),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::trace::log::inodes::identity;
    use crate::trace::testing;

    fn read(log: &Log) -> Vec<Event> {
        log.events().collect::<Result<_, _>>().expect("the log reads")
    }

    /// A file that was last modified long ago.
    fn old_file(directory: &Path, bytes: &[u8]) -> (PathBuf, File) {
        let path = directory.join("mapped");
        fs::write(&path, bytes).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        (path, file)
    }

    #[test]
    fn gives_back_every_kind_of_event() {
        let mut log = Log::default();
        let events = testing::every_kind();
        events.iter().for_each(|event| log.push(event.clone()));
        assert_eq!(read(&log), events);
        assert_eq!(log.count(), events.len() as u64);
        log.check().unwrap();
    }

    #[test]
    fn logs_with_a_common_beginning_go_their_own_ways() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = old_file(directory.path(), b"0123456789");
        let mut first = Log::default();
        first.push(testing::output(1, 10));
        first.map_file(&path, file, 0, 4).unwrap();
        let size = first.size();
        let prefix = first.into_prefix().unwrap();
        let ends: Vec<_> = (2..4).map(|n| testing::output(n, 2 * CHUNK)).collect();
        let logs: Vec<Log> = ends
            .iter()
            .map(|end| {
                let mut log = prefix.log();
                log.push(end.clone());
                let mapped = log.map_file(&path, File::open(&path).unwrap(), 4, 2).unwrap();
                assert_eq!(*log.file(mapped).unwrap(), *b"45");
                log
            })
            .collect();
        for (log, end) in logs.iter().zip(&ends) {
            assert_eq!(read(log), [testing::output(1, 10), end.clone()]);
            assert_eq!(log.count(), 2);
        }
        assert_eq!((prefix.log().size(), prefix.log().count()), (size, 1));
        assert!(Arc::ptr_eq(&logs[0].chunks[0], &logs[1].chunks[0]), "held once");
    }

    #[test]
    fn an_empty_log_has_no_events() {
        assert_eq!(read(&Log::default()), []);
    }

    #[test]
    fn spills_what_memory_should_not_hold() {
        let mut log = Log::with_memory(2 * CHUNK);
        // Sizes that fill chunks to various degrees, and one that needs a chunk of its own size.
        let events: Vec<_> = (0..900).map(|n| testing::output(n, n as usize * 13)).collect();
        let big = testing::output(900, 3 * CHUNK + 5);
        let events: Vec<_> = events.into_iter().chain([big]).collect();
        events.iter().for_each(|event| log.push(event.clone()));
        assert!(log.chunks.iter().map(|chunk| chunk.capacity()).sum::<usize>() <= 2 * CHUNK);
        assert!(!log.chunks.is_empty());
        assert!(log.spill.as_ref().unwrap().ends.len() > 2);
        assert_eq!(log.size(), log.stream(0).map(|chunk| chunk.unwrap().bytes.len() as u64).sum::<u64>());
        assert_eq!(read(&log), events);
        assert_eq!(read(&log), events, "a second reading gives the same");
    }

    #[test]
    fn a_failure_is_kept_and_told() {
        let mut log = Log::with_memory(0);
        log.push(testing::output(1, 10));
        log.spill =
            Some(Spill { file: OpenOptions::new().write(true).open("/dev/full").unwrap(), ends: Vec::new() });
        log.push(testing::output(2, 2 * CHUNK));
        log.push(testing::output(3, 10));
        let error = log.check().unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");
        let last = log.events().last().unwrap();
        assert!(last.is_err(), "reading must not end as if nothing were missing: {last:?}");
    }

    #[test]
    fn an_unchanged_file_is_held_once() {
        let directory = tempfile::tempdir().unwrap();
        let (path, first) = old_file(directory.path(), b"0123456789");
        let mut log = Log::default();
        let one = log.map_file(&path, first, 0, 4).unwrap();
        let two = log.map_file(&path, File::open(&path).unwrap(), 4, 4096).unwrap();
        assert_eq!(one.file, two.file);
        assert_eq!(*log.file(one).unwrap(), *b"0123");
        assert_eq!(*log.file(two).unwrap(), *b"456789", "shorter where the file ends");
        let past = FileRange { offset: 11, ..two };
        assert_eq!(*log.file(past).unwrap(), *b"");
    }

    #[test]
    fn a_modified_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = old_file(directory.path(), b"0123456789");
        let mut log = Log::default();
        let range = log.map_file(&path, file, 0, 4).unwrap();
        fs::write(&path, b"9876543210").unwrap();
        let error = log.file(range).unwrap_err();
        assert!(matches!(&error, TraceError::Modified(at) if *at == path), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }

    #[test]
    fn a_file_may_be_unlinked_and_replaced_after_it_was_mapped() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = old_file(directory.path(), b"0123456789");
        let mut log = Log::default();
        let before = log.map_file(&path, file, 0, 10).unwrap();
        fs::remove_file(&path).unwrap();
        let (path, file) = old_file(directory.path(), b"other");
        let after = log.map_file(&path, file, 0, 10).unwrap();
        assert_eq!(*log.file(before).unwrap(), *b"0123456789");
        assert_eq!(*log.file(after).unwrap(), *b"other");
    }

    #[test]
    fn a_file_modified_just_now_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fresh");
        fs::write(&path, b"0123456789").unwrap();
        let file = File::open(&path).unwrap();
        // In the future, so that the test does not depend on how fast it runs.
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        let mut log = Log::default();
        let range = log.map_file(&path, file, 2, 3).unwrap();
        fs::write(&path, b"----------").unwrap();
        assert_eq!(*log.file(range).unwrap(), *b"234");
    }

    fn loads(log: &Log, backing: &Backing) -> Vec<(u64, Vec<u8>)> {
        backing.loads.iter().map(|load| (load.at, log.file(load.contents).unwrap().to_vec())).collect()
    }

    fn part(offset: u64, len: u64, stored: bool) -> Part {
        Part { offset, len, stored }
    }

    #[test]
    fn what_is_mapped_again_is_not_told_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = old_file(directory.path(), &[7; 10_000]);
        let open = || File::open(&path).unwrap();
        let mut log = Log::default();
        let one = log.map(&path, open(), part(4096, 4096, false)).unwrap();
        assert_eq!(loads(&log, &one), [(4096, vec![7; 4096])]);
        let two = log.map(&path, open(), part(0, 20_000, false)).unwrap();
        assert_eq!(loads(&log, &two), [(0, vec![7; 4096]), (8192, vec![7; 10_000 - 8192])]);
        assert_eq!((two.inode, two.size), (one.inode, 10_000));
        assert_eq!(log.map(&path, open(), part(0, 10_000, true)).unwrap().loads, []);
    }

    #[test]
    fn contents_from_before_a_change_are_kept_and_the_change_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = old_file(directory.path(), &[7; 6000]);
        let mut log = Log::default();
        let backing = log.map(&path, File::open(&path).unwrap(), part(4096, 4096, false)).unwrap();
        let identity = identity(&file.metadata().unwrap());
        assert!(log.before_change(identity));
        file.write_all_at(&[8; 3000], 4000).unwrap();
        let change = log.after_change(identity, 4000..7000).unwrap().unwrap();
        assert_eq!((change.inode, change.size), (backing.inode, 7000));
        // Of the first page nothing is mapped.
        assert_eq!(
            change.writes,
            [crate::trace::event::Write { address: 4096, bytes: vec![8; 7000 - 4096] }]
        );
        assert_eq!(loads(&log, &backing), [(4096, vec![7; 6000 - 4096])]);
        let again = log.map(&path, File::open(&path).unwrap(), part(0, 8192, false)).unwrap();
        assert_eq!(again.loads.iter().map(|load| load.at).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_file_that_was_never_mapped_may_change() {
        let directory = tempfile::tempdir().unwrap();
        let (_, file) = old_file(directory.path(), b"0123456789");
        let identity = identity(&file.metadata().unwrap());
        let mut log = Log::default();
        assert!(!log.before_change(identity));
        assert_eq!(log.after_change(identity, 0..10).unwrap(), None);
    }

    #[test]
    fn what_somebody_else_changed_is_told_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _) = old_file(directory.path(), b"0123456789");
        let mut log = Log::default();
        log.map(&path, File::open(&path).unwrap(), part(0, 10, false)).unwrap();
        fs::write(&path, b"9876543210").unwrap();
        let again = log.map(&path, File::open(&path).unwrap(), part(0, 10, false)).unwrap();
        assert_eq!(loads(&log, &again), [(0, b"9876543210".to_vec())]);
    }

    #[test]
    fn holes_of_a_shared_file_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = old_file(directory.path(), &[7; 4096]);
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"far", 1 << 39).unwrap();
        let mut log = Log::default();
        let backing = log.map(&path, file, part(0, 1 << 40, true)).unwrap();
        let loads = loads(&log, &backing);
        assert!(loads.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 1 << 22);
        assert!(loads.iter().any(|(at, bytes)| *at == 1 << 39 && bytes.starts_with(b"far")));
    }

    #[test]
    fn only_regular_files_have_contents() {
        let zero = File::open("/dev/zero").unwrap();
        assert!(Log::default().map_file(Path::new("/dev/zero"), zero, 0, 4096).is_err());
    }

    #[test]
    fn captured_bytes_and_unknown_files() {
        let mut log = Log::default();
        let file = log.map_bytes(Path::new("memfd"), b"abc".to_vec());
        assert_eq!(*log.file(FileRange { file, offset: 1, len: u64::MAX }).unwrap(), *b"bc");
        assert!(log.file(FileRange { file: FileId(7), offset: 0, len: 1 }).is_err());
    }
}
