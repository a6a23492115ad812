//! The files that a recorded program maps, as the objects that its mappings show.
//!
//! Replay has one memory file for each of them and maps that: so stores into shared mappings, forks, mremap(2) and
//! madvise(2) have in replay the effect that they had. The trace has the contents of what is mapped, from when it is
//! first mapped, and what system calls then change of it. What processes that are not recorded change is not seen.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Whence, lseek};

use super::extents::Extents;
use super::mapped::{MappedFiles, Stamp, read_range};
use crate::trace::event::{Backing, FileChange, FileRange, Inode, Load, Write};
use crate::tracee::PAGE;

/// What tells files apart: device and inode number.
pub type Identity = (u64, u64);

/// What is mapped of a file.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes; may go past the file's end.
    pub len: u64,
    /// Whether stores can go through the mapping into the file, now or after an mprotect(2).
    pub stored: bool,
}

/// All mapped files of a recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Inodes {
    by_identity: HashMap<Identity, Known>,
    /// Segments of shared memory.
    segments: HashMap<Identity, Inode>,
}

/// What the trace tells of a mapped file.
#[derive(Clone, Debug)]
struct Known {
    inode: Inode,
    /// Open, so that its inode number is not given to another.
    file: Arc<File>,
    /// How the file was when it was last looked at.
    stamp: Stamp,
    /// Whether stores may have changed it since.
    stored: bool,
    /// What has been mapped, whole pages.
    extents: Extents,
}

impl Inodes {
    /// See [`super::log::Log::map`].
    pub(super) fn map(
        &mut self,
        files: &mut MappedFiles,
        path: &Path,
        file: File,
        part: Part,
    ) -> io::Result<Backing> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let (stamp, size) = (Stamp::of(&metadata), metadata.len());
        let number = self.next();
        let known = match self.by_identity.entry(identity(&metadata)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Known {
                inode: number,
                file: Arc::new(file),
                stamp,
                stored: false,
                extents: Extents::default(),
            }),
        };
        if known.stamp != stamp && !known.stored {
            // Somebody else has changed it: what replay knows is no longer true.
            known.extents.clear();
        }
        known.stamp = stamp;
        if part.stored && !known.stored {
            files.preserve(identity(&metadata));
            known.stored = true;
        }
        let end = part.offset.saturating_add(part.len);
        let mut loads = Vec::new();
        for gap in known.extents.insert(part.offset / PAGE * PAGE..end.div_ceil(PAGE).saturating_mul(PAGE)) {
            // Not of its holes: a database may be a sparse file larger than any memory.
            for data in segments(&known.file, gap.start..gap.end.min(size)) {
                let len = data.end - data.start;
                let contents = if known.stored {
                    let bytes = read_range(&known.file, size, data.start, len)?;
                    FileRange { file: files.capture(path, bytes), offset: 0, len }
                } else {
                    files.add(path, Arc::clone(&known.file), data.start, len)?
                };
                loads.push(Load { at: data.start, contents });
            }
        }
        Ok(Backing {
            inode: known.inode,
            size,
            offset: part.offset,
            len: part.len,
            stored: part.stored,
            loads,
        })
    }

    fn next(&self) -> Inode {
        Inode((self.by_identity.len() + self.segments.len()) as u32)
    }

    /// See [`super::log::Log::map_segment`].
    pub(super) fn map_segment<E>(
        &mut self,
        files: &mut MappedFiles,
        identity: Identity,
        len: u64,
        contents: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Backing, E> {
        let mut loads = Vec::new();
        let number = self.next();
        let inode = match self.segments.entry(identity) {
            Entry::Occupied(inode) => *inode.get(),
            Entry::Vacant(place) => {
                let file = files.capture(Path::new("shared memory"), contents()?);
                loads.push(Load { at: 0, contents: FileRange { file, offset: 0, len } });
                *place.insert(number)
            }
        };
        Ok(Backing { inode, size: len, offset: 0, len, stored: true, loads })
    }

    /// See [`super::log::Log::before_change`].
    pub(super) fn before_change(&self, files: &mut Arc<MappedFiles>, identity: Identity) -> bool {
        let known = self.by_identity.contains_key(&identity);
        if known {
            Arc::make_mut(files).preserve(identity);
        }
        known
    }

    /// See [`super::log::Log::after_change`].
    pub(super) fn after_change(
        &mut self,
        identity: Identity,
        range: Range<u64>,
    ) -> io::Result<Option<FileChange>> {
        let Some(known) = self.by_identity.get_mut(&identity) else { return Ok(None) };
        let metadata = known.file.metadata()?;
        let size = metadata.len();
        let (mut writes, mut holes) = (Vec::new(), Vec::new());
        for part in known.extents.intersect(range.start..range.end.min(size)) {
            let mut at = part.start;
            for data in segments(&known.file, part.clone()) {
                holes.push((at, data.start - at));
                let bytes = read_range(&known.file, size, data.start, data.end - data.start)?;
                writes.push(Write { address: data.start, bytes });
                at = data.end;
            }
            holes.push((at, part.end - at));
        }
        holes.retain(|(_, len)| *len > 0);
        known.stamp = Stamp::of(&metadata);
        Ok(Some(FileChange { inode: known.inode, size, writes, holes }))
    }

    /// The open file of an identity, if it has been mapped.
    pub(super) fn file(&self, identity: Identity) -> Option<&File> {
        self.by_identity.get(&identity).map(|known| &*known.file)
    }
}

/// A file's identity.
#[must_use]
pub fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The parts of a part of a file that are no holes, ascending.
fn segments(file: &File, part: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = part.end;
    let next = move |at: u64| Some(segment(file, at, end)).filter(|data| !data.is_empty());
    std::iter::successors(next(part.start), move |data| next(data.end))
}

/// The next part of a file from `at` on, up to `end`, that is no hole (lseek(2)); empty if there is none.
fn segment(file: &File, at: u64, end: u64) -> Range<u64> {
    let seek = |at: u64, whence| {
        lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence).map(|at| at.cast_unsigned())
    };
    if at >= end {
        return end..end;
    }
    match seek(at, Whence::SeekData) {
        Ok(start) if start < end => start..seek(start, Whence::SeekHole).unwrap_or(end).clamp(start + 1, end),
        Ok(_) | Err(nix::errno::Errno::ENXIO) => end..end,
        // A file system that does not know holes.
        Err(_) => at..end,
    }
}

/// Whether a seal keeps a memory file from being mapped for writing (fcntl(2)).
#[must_use]
pub fn sealed(file: &File) -> bool {
    // SAFETY: F_GET_SEALS takes no argument and changes nothing; on other files it fails.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals > 0 && seals & (libc::F_SEAL_WRITE | libc::F_SEAL_FUTURE_WRITE) != 0
}
