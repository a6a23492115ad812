//! The contents of mapped files: blocks in the trace itself, or in another trace beside it.
//!
//! Traces of one test binary have nearly all of these in common. A trace that is written where others are leaves out
//! what they have, and names them. [`pack`](super::pack) makes it stand alone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::block::{self, Fault};
use super::layout::{Place, StoredBlock, StoredFile};
use super::originals::digest;
use super::regular;
use crate::trace::{BLOCK, TraceError};

/// Where the blocks of a trace's mapped files are.
#[derive(Debug)]
pub(super) struct FileBlocks {
    trace: Part,
    /// The traces beside it that have some of the blocks.
    others: Vec<Other>,
}

/// An open trace file.
#[derive(Debug)]
struct Part {
    file: File,
    /// Its length: no block ends behind it.
    len: u64,
    path: PathBuf,
}

/// Another trace, which is opened when something of it is needed first.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    part: OnceLock<Option<Part>>,
}

impl FileBlocks {
    /// Those of a trace of this length, which needs others of these names.
    ///
    /// # Errors
    /// A name that cannot be that of a file beside it.
    pub(super) fn new(file: File, len: u64, path: &Path, others: &[OsString]) -> Result<Self, TraceError> {
        let beside = |name: &OsString| {
            // What is more than a name could lead anywhere.
            let plain = Path::new(name).file_name() == Some(name.as_os_str());
            let path = plain.then(|| path.with_file_name(name)).ok_or_else(|| TraceError::Damaged {
                path: path.to_owned(),
                what: format!("index names {name:?} as a trace beside it"),
            })?;
            Ok(Other { path, part: OnceLock::new() })
        };
        let others = others.iter().map(beside).collect::<Result<_, TraceError>>()?;
        Ok(Self { trace: Part { file, len, path: path.to_owned() }, others })
    }

    /// Where the events and the index are.
    pub(super) fn file(&self) -> &File {
        &self.trace.file
    }

    pub(super) fn len(&self) -> u64 {
        self.trace.len
    }

    pub(super) fn path(&self) -> &Path {
        &self.trace.path
    }

    /// Returns the contents of a block.
    ///
    /// # Errors
    /// If it is damaged, or the trace that has it is not there.
    pub(super) fn read(&self, file: &StoredFile, stored: &StoredBlock) -> Result<Vec<u8>, TraceError> {
        self.stored(file, stored).map(|(_, contents)| contents)
    }

    /// Whether a block is as it was written, for one whose contents are not needed; it is read a buffer at a time.
    /// Those of other traces are theirs to check.
    ///
    /// # Errors
    /// If it is damaged.
    pub(super) fn check(
        &self,
        file: &StoredFile,
        stored: &StoredBlock,
        buffer: &mut [u8],
    ) -> Result<(), TraceError> {
        match stored.at {
            Place::Here(at) => {
                let Part { file: trace, len, .. } = &self.trace;
                block::check(trace, at, *len, buffer).map_err(|fault| self.trace.faulty(file, fault))
            }
            Place::Beside { .. } => Ok(()),
        }
    }

    /// Returns a block as it is stored, to be stored elsewhere, and its contents.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn stored(
        &self,
        file: &StoredFile,
        stored: &StoredBlock,
    ) -> Result<(block::Stored, Vec<u8>), TraceError> {
        let (part, at) = self.find(stored.at)?;
        let read = block::stored(&part.file, at, part.len)
            .and_then(|block| block.contents().map(|contents| (block, contents)));
        match stored.at {
            Place::Here(_) => read.map_err(|fault| part.faulty(file, fault)),
            // The name may belong to something else by now.
            Place::Beside { .. } => {
                let same = |(_, contents): &(_, Vec<u8>)| digest(contents) == stored.digest;
                read.ok().filter(same).ok_or_else(|| self.gone(&part.path))
            }
        }
    }

    fn find(&self, place: Place) -> Result<(&Part, u64), TraceError> {
        match place {
            Place::Here(at) => Ok((&self.trace, at)),
            Place::Beside { trace, at } => {
                let Some(other) = self.others.get(trace as usize) else {
                    let what = format!("index has no trace number {trace} beside it");
                    return Err(TraceError::Damaged { path: self.trace.path.clone(), what });
                };
                let part = other.part.get_or_init(|| Part::open(&other.path)).as_ref();
                part.map(|part| (part, at)).ok_or_else(|| self.gone(&other.path))
            }
        }
    }

    fn gone(&self, other: &Path) -> TraceError {
        let other = other.file_name().unwrap_or(OsStr::new("another trace")).to_owned();
        TraceError::Beside { path: self.trace.path.clone(), other }
    }
}

impl Part {
    /// Opens a trace for its blocks alone.
    fn open(path: &Path) -> Option<Self> {
        let (file, metadata) = regular::open(path).ok()?;
        Some(Self { file, len: metadata.len(), path: path.to_owned() })
    }

    fn faulty(&self, file: &StoredFile, fault: Fault) -> TraceError {
        super::damage::faulty(&self.path, &super::damage::contents_of(file), fault)
    }
}

/// Bytes of block `number` of a file.
pub(super) fn block_len(file: &StoredFile, number: u64) -> u64 {
    BLOCK.min(file.size.saturating_sub(number.saturating_mul(BLOCK)))
}
