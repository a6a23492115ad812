//! The layout of a trace file.
//!
//! | bytes | what |
//! |---|---|
//! | 64 | the [`Header`] |
//! | … | blocks (see [`super::block`]): the events, beginning with one at each entry of the index |
//! | … | blocks: parts of mapped files, then of attached ones |
//! | … | blocks: the [`Index`], up to the file's end |
//!
//! The header is the same in all versions of the format, so that any version can tell what it cannot read. It is
//! written last, and says how long the file is: a file that was not finished or that lost its end cannot be taken for
//! a whole one. Everything but the mark lies under a checksum; the mark checks itself.

use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::block::u32_at;
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::trace::TraceError;
use crate::trace::machine::Machine;

/// The processor, as ELF numbers it: `EM_X86_64` of `elf.h`.
pub(super) const MACHINE: u16 = 62;

/// What a trace file starts with.
const MAGIC: [u8; 8] = *b"RRTRACE\0";

/// Where the mark is.
pub(super) const MARK_AT: u64 = 60;

/// The mark of a trace that has replayed.
pub(super) const VERIFIED: [u8; 4] = *b"VRFD";

/// The mark of one that has not. It differs from the other in several bits, so that no single flipped one verifies.
pub(super) const UNVERIFIED: [u8; 4] = [0; 4];

/// The start of a trace file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The version of the format.
    pub(super) format: u32,
    /// The processor.
    pub(super) machine: u16,
    /// The version of cargo-rrtest that wrote it; cut if longer than [`Header::TOOL`].
    pub(super) tool: String,
    /// The file's length in bytes.
    pub(super) len: u64,
    /// Where the index starts.
    pub(super) index: u64,
    /// Whether it has replayed.
    pub(super) mark: [u8; 4],
}

/// Why a header cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is not that of a trace.
    Foreign,
    /// It is, but was altered.
    Damaged,
}

impl Header {
    /// Bytes of the header.
    pub(super) const LEN: usize = 64;

    /// Where the tool's version is.
    const TOOL: std::ops::Range<usize> = 14..40;

    /// Where the checksum is: it covers all that precedes it.
    const CHECKSUM: usize = 56;

    pub(super) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.format.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.machine.to_le_bytes());
        for (to, from) in bytes[Self::TOOL].iter_mut().zip(self.tool.bytes()) {
            *to = from;
        }
        bytes[40..48].copy_from_slice(&self.len.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.index.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..Self::CHECKSUM]);
        bytes[Self::CHECKSUM..60].copy_from_slice(&crc.to_le_bytes());
        bytes[MARK_AT as usize..].copy_from_slice(&self.mark);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, BadHeader> {
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Foreign);
        }
        if crc32fast::hash(&bytes[..Self::CHECKSUM]) != u32_at(bytes, Self::CHECKSUM) {
            return Err(BadHeader::Damaged);
        }
        let mark = [bytes[60], bytes[61], bytes[62], bytes[63]];
        if mark != VERIFIED && mark != UNVERIFIED {
            return Err(BadHeader::Damaged);
        }
        let u64_at = |at| u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32;
        Ok(Self {
            format: u32_at(bytes, 8),
            machine: u16::from_le_bytes([bytes[12], bytes[13]]),
            tool: String::from_utf8_lossy(&bytes[Self::TOOL]).trim_end_matches('\0').to_owned(),
            len: u64_at(40),
            index: u64_at(48),
            mark,
        })
    }

    /// Whether bytes start as a trace does.
    pub(super) fn is_start_of_trace(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }
}

/// What a trace is about, and where its parts lie in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Index {
    pub(super) machine: Machine,
    pub(super) program: Program,
    pub(super) ending: Ending,
    pub(super) stats: Stats,
    /// JSON, as text: postcard has no values of unknown type.
    pub(super) info: String,
    /// Where the events' first block starts and where the last one ends.
    pub(super) events: (u64, u64),
    /// How many events there are.
    pub(super) count: u64,
    /// Where decoding can begin, by event number and so by offset.
    pub(super) entries: Vec<StoredEntry>,
    pub(super) files: Vec<StoredFile>,
    /// The names of the traces beside this one that have blocks of its files.
    pub(super) beside: Vec<OsString>,
    /// Whole files that replay does not need, but who debugs or explains the failure does. Blocks that are mapped as
    /// well are stored once.
    pub(super) attached: Vec<StoredFile>,
}

impl Index {
    /// Encodes it.
    ///
    /// # Errors
    /// [`TraceError::Unwritable`].
    pub(super) fn encode(&self) -> Result<Vec<u8>, TraceError> {
        postcard::to_stdvec(self).map_err(|error| TraceError::Unwritable(error.to_string()))
    }
}

/// A block of the events with which decoding can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredEntry {
    /// The number of its first event.
    pub(super) event: u64,
    /// Its offset in the trace.
    pub(super) at: u64,
}

/// A file, in parts: what has been mapped of it, or all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredFile {
    pub(super) path: OsString,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The blocks that are there, by their numbers.
    pub(super) blocks: BTreeMap<u64, StoredBlock>,
}

impl StoredFile {
    /// Says anew where a block is.
    pub(super) fn put(&mut self, number: u64, at: Place) {
        self.blocks.entry(number).and_modify(|block| block.at = at);
    }
}

/// Where a block of a mapped file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// In the trace, at this offset.
    Here(u64),
    /// In another one, at this offset.
    Beside {
        /// Which of [`Index::beside`].
        trace: u32,
        /// Offset in bytes.
        at: u64,
    },
}

/// A part of a mapped file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredBlock {
    /// Where it is.
    pub(super) at: Place,
    /// XXH3 of its contents, 128 bits.
    pub(super) digest: u128,
}

impl StoredBlock {
    /// Returns its offset in the trace, if it is there.
    pub(super) fn here(&self) -> Option<u64> {
        match self.at {
            Place::Here(at) => Some(at),
            Place::Beside { .. } => None,
        }
    }
}
