//! The files that a replayed program maps: memory files with the recorded contents.
//!
//! All that stores, forks, mremap(2) and madvise(2) do to a mapping of a file they do to a mapping of its stand-in.
//! What other system calls did to the file comes from the trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::mapper::{Mapper, Place};
use crate::Error;
use crate::trace::event::{Backing, FileChange, Inode, Load};
use crate::trace::{Machine, Parts, Prefetch, Ready, Source, TraceError};
use crate::tracee::{os, stand_in};

/// Where a replay has the contents of files from: the trace, and what is got ready of it.
pub(super) struct Contents<'a> {
    trace: &'a dyn Source,
    prefetch: Prefetch,
}

impl<'a> Contents<'a> {
    /// A replay begins.
    pub(super) fn of(trace: &'a dyn Source) -> Self {
        Self { trace, prefetch: trace.prefetch() }
    }

    /// The replay has ended. An error if anything is damaged that it has not needed.
    pub(super) fn finish(&mut self) -> Result<(), TraceError> {
        std::mem::take(&mut self.prefetch).finish()
    }

    /// The machine on which it was recorded.
    pub(super) fn machine(&self) -> &'a Machine {
        self.trace.machine()
    }

    /// The trace file and the version of cargo-rrtest that made it, for messages.
    pub(super) fn origin(&self) -> (&Path, &str) {
        self.trace.origin()
    }
}

/// The stand-ins of a replay.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_inode: HashMap<Inode, StandIn>,
    /// How many bytes have been loaded.
    loaded: u64,
}

/// A memory file in the place of a file.
#[derive(Debug)]
struct StandIn {
    file: File,
    /// What it came with, until anything else is written to it.
    parts: Option<Parts>,
}

impl Files {
    /// Have a file's stand-in mapped.
    pub(super) fn map(
        &mut self,
        mapper: &mut Mapper,
        backing: &Backing,
        place: Place,
        flags: i32,
        contents: &Contents<'_>,
    ) -> Result<(), Error> {
        let shared = flags & libc::MAP_TYPE == libc::MAP_SHARED;
        let file = self.prepare(backing, contents)?;
        mapper.file(place, flags, file, backing.offset, shared && backing.stored)
    }

    /// Give a file's stand-in the contents that it had when this was mapped of it.
    pub(super) fn prepare(&mut self, backing: &Backing, contents: &Contents<'_>) -> Result<&File, Error> {
        let stand_in = match self.by_inode.entry(backing.inode) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(StandIn::new(backing, contents)?),
        };
        stand_in.resize(backing.size)?;
        backing.loads.iter().try_for_each(|load| stand_in.load(load, contents, &mut self.loaded))?;
        Ok(&stand_in.file)
    }

    /// A system call has changed a file.
    pub(super) fn change(&mut self, change: &FileChange) -> Result<(), Error> {
        let Some(stand_in) = self.by_inode.get_mut(&change.inode) else { return Ok(()) };
        stand_in.resize(change.size)?;
        change.holes.iter().try_for_each(|(at, len)| stand_in.clear(*at, *len))?;
        change.writes.iter().try_for_each(|write| stand_in.write(&write.bytes, write.address))
    }
}

impl StandIn {
    /// For a file of which this is mapped first.
    fn new(backing: &Backing, contents: &Contents<'_>) -> Result<Self, Error> {
        if let [first, ..] = &backing.loads[..]
            && let Some(Ready { file, parts }) = contents.prefetch.take(first.contents.file)?
            && parts.have(first)
        {
            return Ok(Self { file, parts: Some(parts) });
        }
        let name = backing.loads.first().and_then(|load| contents.trace.name(load.contents.file));
        Ok(Self { file: stand_in(name.unwrap_or(Path::new("rrtest-file")))?, parts: None })
    }

    /// What lies behind the new end is gone, from all mappings.
    fn resize(&mut self, size: u64) -> Result<(), Error> {
        if self.file.metadata().map_err(failed)?.len() == size {
            return Ok(());
        }
        self.parts = None;
        self.file.set_len(size).map_err(failed)
    }

    /// `loaded` counts the bytes: the same ones of the trace can be loaded to any number of places.
    fn load(&mut self, load: &Load, contents: &Contents<'_>, loaded: &mut u64) -> Result<(), Error> {
        if self.parts.as_ref().is_some_and(|parts| parts.have(load)) {
            return Ok(());
        }
        for piece in load.contents.pieces() {
            let bytes = contents.trace.file(piece)?;
            *loaded = loaded.saturating_add(bytes.len() as u64);
            if *loaded > contents.trace.most_of_files() {
                let what = "events: they load more of files than can be".to_owned();
                return Err(TraceError::Damaged { path: contents.origin().0.to_owned(), what }.into());
            }
            self.write(&bytes, load.at.saturating_add(piece.offset - load.contents.offset))?;
            if (bytes.len() as u64) < piece.len {
                break;
            }
        }
        Ok(())
    }

    /// Make part of it zeros, without there being any.
    fn clear(&mut self, at: u64, len: u64) -> Result<(), Error> {
        self.parts = None;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let [at, len] = [at, len].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        fallocate(&self.file, hole, at, len).map_err(|errno| failed(errno.into()))
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.parts = None;
        self.file.write_all_at(bytes, at).map_err(failed)
    }
}

fn failed(source: std::io::Error) -> Error {
    os("fill a memory file for the replay")(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::{Event, FileId, FileRange};
    use crate::trace::log::Log;
    use crate::trace::{Bytes, Source};

    /// A recording of which few bytes of files are loaded.
    struct Few(Log);

    impl Source for Few {
        fn events(&self) -> Box<dyn Iterator<Item = Result<Event, TraceError>> + '_> {
            self.0.events()
        }

        fn machine(&self) -> &Machine {
            self.0.machine()
        }

        fn file(&self, range: FileRange) -> Result<Bytes, TraceError> {
            self.0.file(range)
        }

        fn most_of_files(&self) -> u64 {
            20
        }
    }

    #[test]
    fn the_same_bytes_are_not_loaded_without_end() {
        let mut log = Log::default();
        let file = log.map_bytes(Path::new("some"), b"ten bytes.".to_vec());
        let few = Few(log);
        let contents = Contents::of(&few);
        let load = |at| Load { at, contents: FileRange { file, offset: 0, len: 10 } };
        let backing = |inode, places: &[u64]| {
            let loads = places.iter().copied().map(load).collect();
            Backing { inode: Inode(inode), size: 100, offset: 0, len: 100, stored: false, loads }
        };
        let prepared = |files: &mut Files, inode, places: &[u64]| {
            files.prepare(&backing(inode, places), &contents).map(drop)
        };
        let mut files = Files::default();
        prepared(&mut files, 0, &[0, 50]).unwrap();
        let error = prepared(&mut files, 1, &[0]).unwrap_err().to_string();
        assert!(error.contains("recording in memory") && error.contains("more of files"), "{error}");
        assert!(prepared(&mut Files::default(), 0, &[0, 10, 20]).is_err());
        assert_eq!(file, FileId(0));
    }
}
