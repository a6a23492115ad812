//! The files that a trace carries, as memory files that a replay maps: they are made beside it, on another core.
//!
//! A debug build has many megabytes of them, and to read, check and copy them takes longer than the start of the
//! program that maps them.

use std::cell::Cell;
use std::fs::File;
use std::iter;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::damage::{contents_of, damaged};
use super::file_blocks::FileBlocks;
use super::layout::{Index, StoredFile};
use super::originals::Original;
use crate::trace::BLOCK;
use crate::trace::TraceError;
use crate::trace::event::{FileId, FileRange, Load};
use crate::tracee::{stand_in, unbind};

/// How many files are made that nobody has asked for yet.
const AHEAD: usize = 3;

/// What is read at a time: it is still in the core's own cache when it is written.
const PART: usize = 64 << 10;

/// A memory file with what a trace carries of a mapped file, each byte at its offset.
#[derive(Debug)]
pub struct Ready {
    /// The memory file.
    pub file: File,
    /// What it has.
    pub parts: Parts,
}

/// Which parts of a mapped file a trace carries.
#[derive(Debug)]
pub struct Parts {
    index: Arc<Index>,
    id: FileId,
}

impl Parts {
    /// Whether what is to be loaded is there, at the offset where it is to be.
    #[must_use]
    pub fn have(&self, load: &Load) -> bool {
        let FileRange { file, offset, len } = load.contents;
        let Some(stored) = self.index.files.get(file.0 as usize) else { return false };
        let end = offset.saturating_add(len).min(stored.size);
        file == self.id
            && load.at == offset
            && (offset / BLOCK..end.div_ceil(BLOCK)).all(|number| stored.blocks.contains_key(&number))
    }
}

/// The mapped files that are got ready beside one replay; by default none are.
#[derive(Debug, Default)]
pub struct Prefetch(Option<Ahead>);

impl Prefetch {
    pub(super) fn start(maker: Maker) -> Self {
        Self(Some(Ahead::start(maker)))
    }

    /// A mapped file that has been got ready, for the caller alone; none if there is no such one (any more).
    ///
    /// # Errors
    /// If the trace is damaged.
    pub fn take(&self, file: FileId) -> Result<Option<Ready>, TraceError> {
        self.0.as_ref().map_or(Ok(None), |ahead| ahead.take(file))
    }

    /// The replay has ended.
    ///
    /// # Errors
    /// If anything is damaged that it has not needed.
    pub fn finish(self) -> Result<(), TraceError> {
        self.0.map_or(Ok(()), Ahead::end)
    }
}

/// A file, or why there is none: nothing if it could not be made.
type Made = Result<Option<File>, TraceError>;

/// The files that are being made, in the order of their numbers.
#[derive(Debug)]
struct Ahead {
    maker: Arc<Maker>,
    made: Receiver<(u32, Made)>,
    /// Whether all that is stored of the files is sound.
    checked: Receiver<Result<(), TraceError>>,
    /// What has a lower number has been asked for, or passed over.
    next: Cell<u32>,
}

impl Ahead {
    /// Begin.
    fn start(maker: Maker) -> Self {
        let maker = Arc::new(maker);
        let (sender, made) = sync_channel(AHEAD);
        let (said, checked) = sync_channel(1);
        let ahead = Self { maker: Arc::clone(&maker), made, checked, next: Cell::new(0) };
        let make = move || {
            unbind();
            let mut buffer = vec![0; PART];
            let numbers = iter::from_fn(|| Some(maker.claimed.fetch_add(1, Relaxed)));
            let mut all = numbers.map_while(|number| Some((number, maker.make(number, &mut buffer)?)));
            // Until nobody wants any more.
            while all.next().is_some_and(|made| sender.send(made).is_ok()) {}
            let _ = said.send(maker.check(&mut buffer));
        };
        // If there can be no thread, nothing is made that is not asked for.
        let _ = thread::Builder::new().name("ahead".to_owned()).spawn(make);
        ahead
    }

    /// This file, unless it was passed over: programs map files in the order of their numbers, but for few. What the
    /// thread has not come to yet is made here.
    fn take(&self, id: FileId) -> Result<Option<Ready>, TraceError> {
        if id.0 < self.next.get() || id.0 as usize >= self.maker.index.files.len() {
            return Ok(None);
        }
        self.next.set(id.0 + 1);
        let made = if self.maker.claimed.fetch_max(id.0 + 1, Relaxed) <= id.0 {
            self.maker.make(id.0, &mut vec![0; PART])
        } else {
            self.made.iter().find_map(|(number, made)| (number == id.0).then_some(made))
        };
        let file = made.unwrap_or(Ok(None))?;
        let parts = Parts { index: Arc::clone(&self.maker.index), id };
        Ok(file.map(|file| Ready { file, parts }))
    }

    /// Nobody will ask for a file any more. Whether all is sound, also what has been read elsewhere: a trace that is
    /// damaged is told of here, and not on another machine.
    fn end(self) -> Result<(), TraceError> {
        drop(self.made);
        self.checked.recv().unwrap_or_else(|_| self.maker.check(&mut vec![0; PART]))
    }
}

/// Makes the files.
#[derive(Debug)]
pub(super) struct Maker {
    index: Arc<Index>,
    blocks: Arc<FileBlocks>,
    /// How many files have been made, or are being made, or are not to be made: who raises it makes the file.
    claimed: AtomicU32,
}

impl Maker {
    pub(super) fn new(index: Arc<Index>, blocks: Arc<FileBlocks>) -> Self {
        Self { index, blocks, claimed: AtomicU32::new(0) }
    }

    /// Make the file of this number, unless there is no such one.
    fn make(&self, number: u32, buffer: &mut [u8]) -> Option<Made> {
        self.index.files.get(number as usize).map(|file| self.fill(file, buffer))
    }

    fn fill(&self, file: &StoredFile, buffer: &mut [u8]) -> Made {
        let Ok(memory) = stand_in(Path::new(&file.path)) else { return Ok(None) };
        if memory.set_len(file.size).is_err() {
            return Ok(None);
        }
        let mut original = Original::find(file);
        for (number, stored) in &file.blocks {
            let start = number.saturating_mul(BLOCK);
            let range = start..start.saturating_add(BLOCK).min(file.size);
            let copied = original.as_ref().map(|original| original.copy(range.clone(), &memory, buffer));
            if range.is_empty() || copied.is_some_and(|digest| digest.is_ok_and(|it| it == stored.digest)) {
                continue;
            }
            original = None;
            let bytes = self.blocks.read(file, stored)?;
            let Some(bytes) = bytes.get(..(range.end - start) as usize) else {
                return Err(damaged(self.blocks.path(), &contents_of(file), "a block is too short"));
            };
            if memory.write_all_at(bytes, start).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(memory))
    }

    fn check(&self, buffer: &mut [u8]) -> Result<(), TraceError> {
        let files = self.index.files.iter().chain(&self.index.attached);
        let mut blocks = files.flat_map(|file| file.blocks.values().map(move |it| (file, it)));
        blocks.try_for_each(|(file, stored)| self.blocks.check(file, stored, buffer))
    }
}
