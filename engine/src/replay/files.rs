//! The files that a replayed program maps: memory files with the recorded contents.
//!
//! All that stores, forks, mremap(2) and madvise(2) do to a mapping of a file they do to a mapping of its stand-in. What
//! other system calls did to the file comes from the trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};

use super::mapper::{Mapper, Place};
use crate::Error;
use crate::trace::event::{Backing, FileChange, Inode, Load};
use crate::trace::{Parts, Ready, Source};
use crate::tracee::{memory_file, os};

/// The stand-ins of a replay.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_inode: HashMap<Inode, StandIn>,
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
        trace: &dyn Source,
    ) -> Result<(), Error> {
        let shared = flags & libc::MAP_TYPE == libc::MAP_SHARED;
        let file = self.prepare(backing, trace)?;
        mapper.file(place, flags, file, backing.offset, shared && backing.stored)
    }

    /// Give a file's stand-in the contents that it had when this was mapped of it.
    pub(super) fn prepare(&mut self, backing: &Backing, trace: &dyn Source) -> Result<&File, Error> {
        let stand_in = match self.by_inode.entry(backing.inode) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(StandIn::new(backing, trace)?),
        };
        stand_in.resize(backing.size)?;
        backing.loads.iter().try_for_each(|load| stand_in.load(load, trace))?;
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
    fn new(backing: &Backing, trace: &dyn Source) -> Result<Self, Error> {
        if let [first, ..] = &backing.loads[..]
            && let Some(Ready { file, parts }) = trace.ready(first.contents.file)?
            && parts.have(first)
        {
            return Ok(Self { file, parts: Some(parts) });
        }
        Ok(Self { file: memory_file(c"rrtest-file")?, parts: None })
    }

    /// What lies behind the new end is gone, from all mappings.
    fn resize(&mut self, size: u64) -> Result<(), Error> {
        if self.file.metadata().map_err(failed)?.len() == size {
            return Ok(());
        }
        self.parts = None;
        self.file.set_len(size).map_err(failed)
    }

    fn load(&mut self, load: &Load, trace: &dyn Source) -> Result<(), Error> {
        if self.parts.as_ref().is_some_and(|parts| parts.have(load)) {
            return Ok(());
        }
        for piece in load.contents.pieces() {
            let bytes = trace.file(piece)?;
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
