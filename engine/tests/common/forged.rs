//! A trace file taken apart, so that any of it can be altered, and put together with right checksums: what is altered
//! gets past the first look of whoever reads it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;

use rrtest_engine::ending::{Ending, Stats};
use rrtest_engine::program::Program;
use rrtest_engine::trace::Machine;
use serde::{Deserialize, Serialize};

/// Bytes of the header, and of a block before its payload.
const HEADER: usize = 64;
const PREFIX: usize = 12;

/// Where in the header there is what.
const LEN: Range<usize> = 40..48;
const INDEX: Range<usize> = 48..56;
const CHECKSUM: Range<usize> = 56..60;

/// The most that a block holds.
const BLOCK: usize = 1 << 20;

/// What a trace file has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forged {
    /// The header; where the index is and how long the file is follow from the rest.
    pub(crate) header: Vec<u8>,
    pub(crate) index: Index,
    /// Events and parts of files. What is longer than a block is cut off.
    pub(crate) blocks: Vec<Vec<u8>>,
}

/// The index, with the numbers of blocks in place of offsets. A number of no block is taken as an offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) machine: Machine,
    pub(crate) program: Program,
    pub(crate) ending: Ending,
    pub(crate) stats: Stats,
    pub(crate) info: String,
    pub(crate) events: (u64, u64),
    pub(crate) count: u64,
    pub(crate) entries: Vec<(u64, u64)>,
    pub(crate) files: Vec<StoredFile>,
    pub(crate) beside: Vec<OsString>,
    pub(crate) attached: Vec<StoredFile>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredFile {
    pub(crate) path: OsString,
    pub(crate) size: u64,
    pub(crate) blocks: BTreeMap<u64, StoredBlock>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredBlock {
    pub(crate) at: Place,
    #[serde(with = "digest")]
    pub(crate) digest: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Place {
    Here(u64),
    Beside { trace: u32, at: u64 },
}

impl Place {
    /// The same with another offset in the trace itself.
    fn moved(self, to: impl Fn(u64) -> u64) -> Self {
        match self {
            Self::Here(at) => Self::Here(to(at)),
            Self::Beside { .. } => self,
        }
    }
}

/// JSON has no numbers that large.
mod digest {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return [(*digest >> 64) as u64, *digest as u64].serialize(serializer);
        }
        digest.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        if deserializer.is_human_readable() {
            let [high, low] = <[u64; 2]>::deserialize(deserializer)?;
            return Ok(u128::from(high) << 64 | u128::from(low));
        }
        u128::deserialize(deserializer)
    }
}

impl Index {
    /// The index with other offsets.
    fn moved(&self, to: impl Fn(u64) -> u64) -> Self {
        let block = |(number, block): (&u64, &StoredBlock)| {
            (*number, StoredBlock { at: block.at.moved(&to), ..*block })
        };
        let file = |file: &StoredFile| StoredFile {
            blocks: file.blocks.iter().map(block).collect(),
            ..file.clone()
        };
        Self {
            events: (to(self.events.0), to(self.events.1)),
            entries: self.entries.iter().map(|(event, at)| (*event, to(*at))).collect(),
            files: self.files.iter().map(file).collect(),
            attached: self.attached.iter().map(file).collect(),
            ..self.clone()
        }
    }
}

impl Forged {
    /// Takes a trace apart, which must be sound.
    pub(crate) fn of(trace: &[u8]) -> Self {
        let index = u64_at(trace, INDEX) as usize;
        let (_, stored) = blocks(trace, index, trace.len());
        let stored: Index = postcard::from_bytes(&stored.concat()).expect("an index");
        let (bounds, blocks) = blocks(trace, HEADER, index);
        let number = |at| bounds.iter().position(|bound| *bound == at).map_or(at, |number| number as u64);
        Self { header: trace[..HEADER].to_vec(), index: stored.moved(number), blocks }
    }

    /// Puts it together.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut trace = self.header.clone();
        trace.resize(HEADER, 0);
        let mut bounds = vec![HEADER as u64];
        for block in self.blocks.iter().filter(|block| !block.is_empty()) {
            append(&mut trace, &block[..block.len().min(BLOCK)]);
            bounds.push(trace.len() as u64);
        }
        let offset = |number: u64| bounds.get(number as usize).copied().unwrap_or(number);
        let index = postcard::to_stdvec(&self.index.moved(offset)).expect("an index");
        let at = trace.len() as u64;
        index.chunks(BLOCK).for_each(|part| append(&mut trace, part));
        let len = trace.len() as u64;
        trace[LEN].copy_from_slice(&len.to_le_bytes());
        trace[INDEX].copy_from_slice(&at.to_le_bytes());
        let checksum = crc32fast::hash(&trace[..CHECKSUM.start]);
        trace[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        trace
    }
}

/// Alters some bytes: sets, flips, removes, inserts, repeats them, or cuts the rest off.
pub(crate) fn scramble(random: &mut impl FnMut() -> u64, bytes: &mut Vec<u8>) {
    for _ in 0..=random() % 4 {
        let len = bytes.len();
        if len == 0 {
            return bytes.push(random() as u8);
        }
        let at = random() as usize % len;
        let end = len.min(at + 1 + random() as usize % 16);
        match random() % 8 {
            0 => bytes[at] = 0xff,
            1 => bytes[at] = 0,
            2 => drop(bytes.drain(at..end)),
            3 => bytes.insert(at, random() as u8),
            4 => bytes.extend_from_within(at..end),
            5 if random().is_multiple_of(8) => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (random() % 8),
        }
    }
}

/// Appends a block.
fn append(trace: &mut Vec<u8>, raw: &[u8]) {
    let payload = zstd::bulk::compress(raw, 1).expect("a compressed block");
    let lens = [(payload.len() as u32).to_le_bytes(), (raw.len() as u32).to_le_bytes()].concat();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&(trace.len() as u64).to_le_bytes());
    checksum.update(&lens);
    checksum.update(&payload);
    trace.extend(lens);
    trace.extend(checksum.finalize().to_le_bytes());
    trace.extend(payload);
}

/// The blocks between two offsets, decompressed, and their bounds.
fn blocks(trace: &[u8], start: usize, end: usize) -> (Vec<u64>, Vec<Vec<u8>>) {
    let (mut bounds, mut blocks, mut at) = (vec![start as u64], Vec::new(), start);
    while at < end {
        let len = u32::from_le_bytes(trace[at..at + 4].try_into().expect("a length")) as usize;
        let payload = &trace[at + PREFIX..at + PREFIX + len];
        blocks.push(zstd::decode_all(payload).expect("a block"));
        at += PREFIX + len;
        bounds.push(at as u64);
    }
    (bounds, blocks)
}

fn u64_at(bytes: &[u8], range: Range<usize>) -> u64 {
    u64::from_le_bytes(bytes[range].try_into().expect("a number"))
}
