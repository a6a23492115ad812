//! A recording in memory: the events as they come, and the files they refer to.

mod extents;
pub mod inodes;
mod mapped;
#[cfg(test)]
mod tests;

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
