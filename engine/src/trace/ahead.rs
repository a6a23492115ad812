//! The files that a trace carries, as memory files that a replay maps: they are made beside it, on another core.
//!
//! A debug build has many megabytes of them, and to read, check and copy them takes longer than the start of the program
//! that maps them.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::TraceError;
use super::block::{self, BLOCK, Fault};
use super::event::{FileId, FileRange, Load};
use super::file::{Index, StoredBlock, StoredFile};
use super::originals::Original;
use super::reader::{contents_of, damaged, faulty};
use crate::tracee::{memory_file, unpin};

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

/// What the thread that makes the files has to say of one: nothing if it could not be made.
type Made = Result<Option<File>, TraceError>;

/// The files that are being made, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Ahead {
    index: Arc<Index>,
    made: Receiver<Made>,
    /// The number of the file that comes next.
    next: Cell<u32>,
}

impl Ahead {
    /// Begin; not at all if there can be no thread.
    pub(super) fn start(maker: Maker) -> Option<Self> {
        let index = Arc::clone(&maker.index);
        let (sender, made) = sync_channel(AHEAD);
        let make = move || {
            unpin();
            let mut buffer = vec![0; PART];
            let mut all = maker.index.files.iter().map(|file| maker.make(file, &mut buffer));
            // Until nobody wants any more.
            while all.next().is_some_and(|made| sender.send(made).is_ok()) {}
        };
        thread::Builder::new().name("ahead".to_owned()).spawn(make).ok()?;
        Some(Self { index, made, next: Cell::new(0) })
    }

    /// This file, unless it could not be made or was passed over: programs map files in the order of their numbers, but for few.
    pub(super) fn take(&self, id: FileId) -> Result<Option<Ready>, TraceError> {
        while self.next.get() <= id.0 {
            let Ok(made) = self.made.recv() else { return Ok(None) };
            let number = self.next.replace(self.next.get() + 1);
            if number == id.0 {
                let parts = Parts { index: Arc::clone(&self.index), id };
                return Ok(made?.map(|file| Ready { file, parts }));
            }
        }
        Ok(None)
    }
}

/// Makes the files.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) index: Arc<Index>,
    /// The trace, of this length and name.
    pub(super) trace: File,
    pub(super) len: u64,
    pub(super) path: PathBuf,
}

impl Maker {
    fn make(&self, file: &StoredFile, buffer: &mut [u8]) -> Made {
        let Ok(memory) = memory_file(c"rrtest-file") else { return Ok(None) };
        if memory.set_len(file.size).is_err() {
            return Ok(None);
        }
        let mut original = Original::find(file);
        for (number, stored) in &file.blocks {
            let start = number.saturating_mul(BLOCK);
            let range = start..start.saturating_add(BLOCK).min(file.size);
            let copied = original.as_ref().map(|original| original.copy(range.clone(), &memory, buffer));
            let same = copied.is_some_and(|digest| digest.is_ok_and(|digest| digest == stored.digest));
            if range.is_empty() || same {
                // Still a trace that is damaged is told of here, and not on another machine.
                block::check(&self.trace, stored.at, self.len, buffer)
                    .map_err(|fault| self.faulty(file, fault))?;
                continue;
            }
            original = None;
            let bytes = self.decompressed(file, stored)?;
            let Some(bytes) = bytes.get(..(range.end - start) as usize) else {
                return Err(damaged(&self.path, &contents_of(file), "a block is too short"));
            };
            if memory.write_all_at(bytes, start).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(memory))
    }

    fn decompressed(&self, file: &StoredFile, stored: &StoredBlock) -> Result<Vec<u8>, TraceError> {
        let read = block::read(&self.trace, stored.at, self.len);
        read.map(|(bytes, _)| bytes).map_err(|fault| self.faulty(file, fault))
    }

    fn faulty(&self, file: &StoredFile, fault: Fault) -> TraceError {
        faulty(&self.path, &contents_of(file), fault)
    }
}
