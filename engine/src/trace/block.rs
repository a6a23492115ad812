//! Blocks: the unit in which a trace file is compressed, checked and read.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the payload |
//! | 4 | length of what it decompresses to, at most [`BLOCK`] |
//! | 4 | CRC-32 of the block's offset in the file, the two lengths and the payload |
//! | … | the payload: one zstd frame |
//!
//! All numbers are little-endian. Since a block is bounded, so is what reading one allocates, whatever the lengths say.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zstd::bulk::{Compressor, Decompressor};

/// Bytes of a block before compression (the last one of a section may have fewer).
pub(super) const BLOCK: u64 = 1 << 20;

/// Bytes before the payload.
const PREFIX: usize = 12;

/// zstd's own default: about as fast as the disk, and the traces are small.
const LEVEL: i32 = 3;

/// Why a block cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operating system refused.
    Read(io::Error),
    /// It is not what was written.
    Damaged(&'static str),
}

/// Writes blocks one after the other.
pub(super) struct BlockWriter<'a> {
    out: &'a File,
    /// Where the next block goes.
    at: u64,
    compressor: Compressor<'static>,
    /// The block that is being filled.
    raw: Vec<u8>,
    stored: Vec<u8>,
}

impl<'a> BlockWriter<'a> {
    /// The first block goes to `at`.
    pub(super) fn new(out: &'a File, at: u64) -> io::Result<Self> {
        let compressor = Compressor::new(LEVEL)?;
        Ok(Self { out, at, compressor, raw: Vec::new(), stored: Vec::new() })
    }

    /// Where the next block goes. What was appended since the last [`BlockWriter::flush`] may lie before or after it.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Append to the current block, and begin new ones as they fill.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = BLOCK as usize - self.raw.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.raw.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// End the current block, so that the next begins at [`BlockWriter::at`].
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        self.stored.resize(PREFIX + zstd::zstd_safe::compress_bound(self.raw.len()), 0);
        let len = self.compressor.compress_to_buffer(&self.raw, &mut self.stored[PREFIX..])?;
        self.stored.truncate(PREFIX + len);
        self.stored[..4].copy_from_slice(&(len as u32).to_le_bytes());
        self.stored[4..8].copy_from_slice(&(self.raw.len() as u32).to_le_bytes());
        let crc = checksum(self.at, &self.stored[..8], &self.stored[PREFIX..]);
        self.stored[8..PREFIX].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all_at(&self.stored, self.at)?;
        self.at += self.stored.len() as u64;
        self.raw.clear();
        Ok(())
    }
}

/// Read the block at `at`, which must end at `end` at the latest. Returns its contents and where it ends.
pub(super) fn read(file: &File, at: u64, end: u64) -> Result<(Vec<u8>, u64), Fault> {
    let room = end.checked_sub(at).ok_or(Fault::Damaged("a block lies outside"))?;
    if room < PREFIX as u64 {
        return Err(Fault::Damaged("a block is cut off"));
    }
    let mut prefix = [0; PREFIX];
    read_exact(file, &mut prefix, at)?;
    let [len, raw_len, crc] = [0, 4, 8].map(|at| u32_at(&prefix, at));
    if u64::from(raw_len) > BLOCK
        || raw_len == 0
        || len as usize > zstd::zstd_safe::compress_bound(BLOCK as usize)
    {
        return Err(Fault::Damaged("a block has impossible lengths"));
    }
    if u64::from(len) > room - PREFIX as u64 {
        return Err(Fault::Damaged("a block is cut off"));
    }
    let mut payload = vec![0; len as usize];
    read_exact(file, &mut payload, at + PREFIX as u64)?;
    if checksum(at, &prefix[..8], &payload) != crc {
        return Err(Fault::Damaged("a checksum does not match"));
    }
    let raw = Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress(&payload, raw_len as usize))
        .map_err(|_| Fault::Damaged("a block does not decompress"))?;
    if raw.len() != raw_len as usize {
        return Err(Fault::Damaged("a block decompresses to another length"));
    }
    Ok((raw, at + PREFIX as u64 + u64::from(len)))
}

fn read_exact(file: &File, buffer: &mut [u8], at: u64) -> Result<(), Fault> {
    file.read_exact_at(buffer, at).map_err(Fault::Read)
}

/// The little-endian number at `at`, which must lie inside.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The offset is part of it, so that a block in a wrong place does not pass.
fn checksum(at: u64, lengths: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(lengths);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> (File, u64) {
        let file = tempfile::tempfile().unwrap();
        let mut writer = BlockWriter::new(&file, 5).unwrap();
        writer.append(bytes).unwrap();
        writer.flush().unwrap();
        let end = writer.at();
        (file, end)
    }

    /// A block with a right checksum around anything.
    fn forged(len: u32, raw_len: u32, payload: &[u8]) -> Fault {
        let mut block = [len.to_le_bytes(), raw_len.to_le_bytes()].concat();
        let crc = checksum(0, &block, payload);
        block.extend_from_slice(&crc.to_le_bytes());
        block.extend_from_slice(payload);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&block, 0).unwrap();
        read(&file, 0, block.len() as u64).unwrap_err()
    }

    #[test]
    fn cuts_a_long_stream_into_blocks() {
        let bytes: Vec<u8> = (0..BLOCK * 2 + 1).map(|n| ((n * n) >> 7) as u8).collect();
        let (file, end) = written(&bytes);
        let mut at = 5;
        let mut lens = Vec::new();
        let mut all = Vec::new();
        while at < end {
            let (block, next) = read(&file, at, end).unwrap();
            lens.push(block.len() as u64);
            all.extend(block);
            at = next;
        }
        assert_eq!(lens, [BLOCK, BLOCK, 1]);
        assert!(all == bytes);
    }

    #[test]
    fn does_not_take_a_block_from_a_wrong_place() {
        let (file, end) = written(b"block");
        let mut block = vec![0; (end - 5) as usize];
        file.read_exact_at(&mut block, 5).unwrap();
        file.write_all_at(&block, end).unwrap();
        assert!(read(&file, 5, end).is_ok());
        assert!(matches!(read(&file, end, 2 * end - 5), Err(Fault::Damaged("a checksum does not match"))));
    }

    #[test]
    fn refuses_impossible_lengths() {
        let payload = zstd::bulk::compress(b"1234", LEVEL).unwrap();
        let len = payload.len() as u32;
        for (len, raw_len) in
            [(len, u32::MAX), (len, BLOCK as u32 + 1), (len, 0), (u32::MAX, 4), (len + 1, 4)]
        {
            let fault = forged(len, raw_len, &payload);
            assert!(
                matches!(fault, Fault::Damaged(what) if what != "a checksum does not match"),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn refuses_a_payload_of_another_length() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], LEVEL).unwrap();
        for raw_len in [1, 4096, BLOCK as u32] {
            let fault = forged(bomb.len() as u32, raw_len, &bomb);
            assert!(matches!(fault, Fault::Damaged("a block does not decompress")), "{fault:?}");
        }
        let short = zstd::bulk::compress(b"1234", LEVEL).unwrap();
        let fault = forged(short.len() as u32, 5, &short);
        assert!(matches!(fault, Fault::Damaged("a block decompresses to another length")), "{fault:?}");
        assert!(matches!(forged(4, 4, b"zstd"), Fault::Damaged("a block does not decompress")));
    }
}
