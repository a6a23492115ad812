//! The files that a recorded program maps, while it is being recorded.
//!
//! They are referenced, not copied: most recordings are thrown away, and a test binary has many megabytes. Their
//! contents are read if the recording is replayed or written, provided that the files are still the same by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::inodes::Identity;
use crate::trace::BLOCK;
use crate::trace::TraceError;
use crate::trace::event::{FileId, FileRange};

/// The kernel stamps files with a clock that stands still for up to this long (a timer interrupt's period, with room
/// to spare). Within it two modifications can bear the same stamp.
const STAMP_TICK: Duration = Duration::from_millis(20);

/// All mapped files of a recording.
#[derive(Clone, Debug, Default)]
pub(in crate::trace) struct MappedFiles {
    files: Vec<MappedFile>,
    by_stamp: HashMap<Stamp, FileId>,
}

/// One mapped file.
#[derive(Clone, Debug)]
pub(in crate::trace) struct MappedFile {
    /// Its name, as far as known.
    pub(in crate::trace) path: PathBuf,
    contents: Contents,
    /// The blocks of [`BLOCK`] bytes that some mapping covers: the rest is never needed.
    blocks: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum Contents {
    /// In a file that must stay as it is. Being open, its inode number is not given to another.
    Referenced(Arc<File>, Stamp),
    /// Of a file of this size, the blocks that are needed, read just before the program changed it.
    Preserved(u64, BTreeMap<u64, Vec<u8>>),
    /// Captured when the file was mapped.
    Captured(Vec<u8>),
}

/// What tells that a file is still the same. The time of the last status change (`st_ctime`) is left out: it changes
/// when a file is renamed or unlinked, which programs do to files they have mapped, and which leaves the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::trace) struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
}

impl Stamp {
    pub(in crate::trace) fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether a modification right now could leave the stamp as it is.
    fn is_fresh(&self) -> bool {
        let modified =
            Duration::new(u64::try_from(self.mtime.0).unwrap_or(0), u32::try_from(self.mtime.1).unwrap_or(0));
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(now) => modified + STAMP_TICK > now,
            Err(_) => true,
        }
    }
}

impl MappedFiles {
    /// See [`super::log::Log::map_file`].
    pub(in crate::trace) fn add(
        &mut self,
        path: &Path,
        file: Arc<File>,
        offset: u64,
        len: u64,
    ) -> io::Result<FileRange> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let stamp = Stamp::of(&metadata);
        if stamp.is_fresh() {
            let bytes = read_range(&file, stamp.size, offset, len)?;
            return Ok(FileRange { file: self.capture(path, bytes), offset: 0, len });
        }
        let id = match self.by_stamp.get(&stamp) {
            Some(id) => *id,
            None => {
                let id = self.insert(path, Contents::Referenced(file, stamp));
                self.by_stamp.insert(stamp, id);
                id
            }
        };
        let end = offset.saturating_add(len).min(stamp.size);
        self.files[id.0 as usize].blocks.extend(offset / BLOCK..end.div_ceil(BLOCK));
        Ok(FileRange { file: id, offset, len })
    }

    /// See [`super::log::Log::map_bytes`].
    pub(in crate::trace) fn capture(&mut self, name: &Path, bytes: Vec<u8>) -> FileId {
        let blocks = (bytes.len() as u64).div_ceil(BLOCK);
        let id = self.insert(name, Contents::Captured(bytes));
        self.files[id.0 as usize].blocks.extend(0..blocks);
        id
    }

    /// The program is about to change a file: what was mapped of it is read while it is there.
    pub(in crate::trace) fn preserve(&mut self, identity: Identity) {
        self.by_stamp.retain(|stamp, id| {
            let changes = (stamp.dev, stamp.ino) == identity;
            if changes {
                self.files[id.0 as usize].preserve();
            }
            !changes
        });
    }

    fn insert(&mut self, path: &Path, contents: Contents) -> FileId {
        let id = FileId(self.files.len() as u32);
        self.files.push(MappedFile { path: path.to_owned(), contents, blocks: BTreeSet::new() });
        id
    }

    /// The file of this id.
    pub(in crate::trace) fn get(&self, id: FileId) -> Option<&MappedFile> {
        self.files.get(id.0 as usize)
    }

    /// All of them, in order of their ids.
    pub(in crate::trace) fn iter(&self) -> impl Iterator<Item = &MappedFile> {
        self.files.iter()
    }
}

impl MappedFile {
    /// Its size in bytes.
    pub(in crate::trace) fn size(&self) -> u64 {
        match &self.contents {
            Contents::Referenced(_, stamp) => stamp.size,
            Contents::Preserved(size, _) => *size,
            Contents::Captured(bytes) => bytes.len() as u64,
        }
    }

    /// The numbers of the blocks that are needed, ascending.
    pub(in crate::trace) fn blocks(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().copied()
    }

    /// Read what is needed of it. What cannot be read, or has been changed by somebody else, stays to be found out
    /// later.
    fn preserve(&mut self) {
        let size = self.size();
        let blocks = self.blocks().map(|number| Ok((number, self.read(number * BLOCK, BLOCK)?)));
        if let Ok(blocks) = blocks.collect::<Result<_, TraceError>>() {
            self.contents = Contents::Preserved(size, blocks);
        }
    }

    /// Part of its contents; shorter than asked where the file ends.
    pub(in crate::trace) fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, TraceError> {
        let (file, stamp) = match &self.contents {
            Contents::Referenced(file, stamp) => (file, stamp),
            Contents::Preserved(size, blocks) => return Ok(from_blocks(blocks, *size, offset, len)),
            Contents::Captured(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX).min(bytes.len());
                return Ok(bytes[start..end].to_vec());
            }
        };
        let bytes = read_range(file, stamp.size, offset, len);
        // Looked at after reading, so that a modification meanwhile is seen.
        match file.metadata() {
            Ok(metadata) if Stamp::of(&metadata) != *stamp => Err(TraceError::Modified(self.path.clone())),
            Ok(_) => bytes.map_err(|source| TraceError::Mapped { path: self.path.clone(), source }),
            Err(source) => Err(TraceError::Mapped { path: self.path.clone(), source }),
        }
    }
}

/// Part of the contents of a file of `size` bytes of which these blocks are known.
fn from_blocks(blocks: &BTreeMap<u64, Vec<u8>>, size: u64, offset: u64, len: u64) -> Vec<u8> {
    let end = offset.saturating_add(len).min(size);
    let mut bytes = Vec::new();
    let mut at = offset;
    while at < end {
        let (number, skip) = (at / BLOCK, (at % BLOCK) as usize);
        let until = BLOCK.min(end - number * BLOCK) as usize;
        let Some(some) = blocks.get(&number).and_then(|block| block.get(skip..until)) else { break };
        bytes.extend_from_slice(some);
        at += some.len() as u64;
    }
    bytes
}

/// Part of a file of `size` bytes; shorter than asked where the file ends.
pub(in crate::trace) fn read_range(file: &File, size: u64, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_range_into(&mut bytes, file, size, offset, len)?;
    Ok(bytes)
}

/// As [`read_range`], into the memory of what had been read before.
pub(in crate::trace) fn read_range_into(
    bytes: &mut Vec<u8>,
    file: &File,
    size: u64,
    offset: u64,
    len: u64,
) -> io::Result<()> {
    let len = size.saturating_sub(offset).min(len);
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.try_reserve_exact(len.saturating_sub(bytes.len()))?;
    bytes.resize(len, 0);
    file.read_exact_at(bytes, offset)
}
