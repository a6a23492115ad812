//! The files that a replayed program maps: memory files with the recorded contents.
//!
//! All that stores, forks, mremap(2) and madvise(2) do to a mapping of a file they do to a mapping of its stand-in. What
//! other system calls did to the file comes from the trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::trace::event::{Backing, FileChange, Inode, Load};
use crate::trace::{Parts, Ready, Source};
use crate::tracee::{Area, Memory, Stopped, TASK_SIZE, memory_file, os, remote};

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

/// Where memory is mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) len: u64,
    /// `PROT_*` of mmap(2).
    pub(super) prot: u64,
}

impl Place {
    /// Map anonymous memory there. The task stands as for [`remote`].
    pub(super) fn map_anonymous(self, task: Stopped, flags: i32) -> Result<Stopped, Error> {
        self.map(task, flags | libc::MAP_ANONYMOUS, u64::MAX, 0)
    }

    fn map(self, task: Stopped, flags: i32, fd: u64, offset: u64) -> Result<Stopped, Error> {
        let end = self.address.checked_add(self.len).filter(|end| *end <= TASK_SIZE);
        let apart = end.is_some_and(|end| end <= AREA as u64 || self.address >= (AREA + AREA_LEN) as u64);
        if !apart {
            return Err(self.refused(std::io::Error::other("no program has memory there")));
        }
        let flags = flags | libc::MAP_FIXED;
        let args = [self.address, self.len, self.prot, flags as u64, fd, offset];
        let (task, result) = remote(task, libc::SYS_mmap as u64, args)?;
        if result == self.address.cast_signed() { Ok(task) } else { Err(self.refused(errno(result))) }
    }

    fn refused(self, source: std::io::Error) -> Error {
        os(format!("map {} bytes at {:#x} in the replay", self.len, self.address))(source)
    }
}

impl Files {
    /// Map a file's stand-in. The task stands as for [`remote`].
    pub(super) fn map(
        &mut self,
        task: Stopped,
        memory: &Memory,
        backing: &Backing,
        place: Place,
        flags: i32,
        trace: &dyn Source,
    ) -> Result<Stopped, Error> {
        let file = self.prepare(backing, trace)?;
        // By its name, since the process has no descriptors, and the file is younger than the process may be.
        let path = format!("/proc/{}/fd/{}\0", std::process::id(), file.as_raw_fd());
        let Some(text) = Area::scratch(0) else {
            return Err(place.refused(std::io::ErrorKind::Other.into()));
        };
        memory.write(text, path.as_bytes())?;
        // A mapping of a file that is open for reading only cannot be made writable.
        let shared = flags & libc::MAP_TYPE == libc::MAP_SHARED;
        let access = if shared && backing.stored { libc::O_RDWR } else { libc::O_RDONLY };
        let (task, fd) = remote(task, libc::SYS_open as u64, [text, access as u64, 0, 0, 0, 0])?;
        if fd < 0 {
            return Err(place.refused(errno(fd)));
        }
        let task = place.map(task, flags, fd.cast_unsigned(), backing.offset)?;
        let (task, _) = remote(task, libc::SYS_close as u64, [fd.cast_unsigned(), 0, 0, 0, 0, 0])?;
        Ok(task)
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

    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.parts = None;
        self.file.write_all_at(bytes, at).map_err(failed)
    }
}

fn failed(source: std::io::Error) -> Error {
    os("fill a memory file for the replay")(source)
}

fn errno(result: i64) -> std::io::Error {
    std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL))
}
