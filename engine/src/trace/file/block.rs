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
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use zstd::bulk::{Compressor, Decompressor};

use crate::trace::BLOCK;
use crate::tracee;

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

/// Writes blocks one after the other. They can be compressed on other cores, while further ones are filled.
pub(super) struct BlockWriter<'a> {
    out: &'a File,
    /// Where each of the blocks that are written starts, and where the last one ends.
    bounds: Vec<u64>,
    /// The block that is being filled.
    raw: Vec<u8>,
    /// How many blocks have ended.
    ended: usize,
    /// Who compresses the blocks, in turn.
    helpers: Vec<Helper>,
    press: Press,
}

impl<'a> BlockWriter<'a> {
    /// The first block goes to `at`. So many threads compress; if there are none, or none can be started, the caller
    /// does.
    pub(super) fn new(out: &'a File, at: u64, helpers: usize) -> io::Result<Self> {
        let helpers = (0..helpers).map_while(|_| Helper::start().ok()).collect();
        Ok(Self { out, bounds: vec![at], raw: Vec::new(), ended: 0, helpers, press: Press::new()? })
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

    /// End the current block. The next one has the number that this returns.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        if self.raw.is_empty() {
            return Ok(self.ended);
        }
        let raw = std::mem::take(&mut self.raw);
        if self.helpers.is_empty() {
            let stored = self.press.compress(&raw)?;
            self.reuse(raw);
            self.store(stored)?;
        } else {
            self.collect(self.helpers.len() - 1)?;
            let helper = self.ended % self.helpers.len();
            self.helpers[helper].give(raw)?;
        }
        self.ended += 1;
        Ok(self.ended)
    }

    /// End the last block. Returns the bounds of all blocks: number n goes from the n-th to the one after it.
    pub(super) fn finish(mut self) -> io::Result<Vec<u64>> {
        self.flush()?;
        self.collect(0)?;
        Ok(self.bounds)
    }

    /// How many bytes are written.
    pub(super) fn written(&self) -> u64 {
        self.bounds.last().copied().unwrap_or_default()
    }

    /// Write what helpers have compressed, until no more than so many blocks are left with them.
    fn collect(&mut self, left: usize) -> io::Result<()> {
        while self.bounds.len() - 1 + left < self.ended {
            let helper = (self.bounds.len() - 1) % self.helpers.len();
            let (raw, stored) = self.helpers[helper].take()?;
            self.reuse(raw);
            self.store(stored)?;
        }
        Ok(())
    }

    /// The memory of a block that is done serves the next one.
    fn reuse(&mut self, mut raw: Vec<u8>) {
        if self.raw.capacity() == 0 {
            raw.clear();
            self.raw = raw;
        }
    }

    /// Write a compressed block.
    fn store(&mut self, mut stored: Vec<u8>) -> io::Result<()> {
        let at = self.written();
        seal(&mut stored, at);
        self.out.write_all_at(&stored, at)?;
        self.bounds.push(at + stored.len() as u64);
        Ok(())
    }
}

/// Compresses blocks.
struct Press(Compressor<'static>);

impl Press {
    fn new() -> io::Result<Self> {
        Ok(Self(Compressor::new(LEVEL)?))
    }

    /// A block as it is stored, but for its checksum.
    fn compress(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; PREFIX + zstd::zstd_safe::compress_bound(raw.len())];
        let len = self.0.compress_to_buffer(raw, &mut stored[PREFIX..])?;
        stored.truncate(PREFIX + len);
        stored[..4].copy_from_slice(&(len as u32).to_le_bytes());
        stored[4..8].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        Ok(stored)
    }
}

/// A thread that compresses blocks. It ends with its owner.
struct Helper {
    blocks: Sender<Vec<u8>>,
    done: Receiver<(Vec<u8>, io::Result<Vec<u8>>)>,
}

impl Helper {
    fn start() -> io::Result<Self> {
        let (blocks, todo) = mpsc::channel::<Vec<u8>>();
        let (sender, done) = mpsc::channel();
        let mut press = Press::new()?;
        thread::Builder::new().name("compress".to_owned()).spawn(move || {
            tracee::unbind();
            for raw in todo {
                let stored = press.compress(&raw);
                if sender.send((raw, stored)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { blocks, done })
    }

    fn give(&self, raw: Vec<u8>) -> io::Result<()> {
        self.blocks.send(raw).map_err(|_| Self::gone())
    }

    /// The block that it was given first of those that it has, before and after compression.
    fn take(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (raw, stored) = self.done.recv().map_err(|_| Self::gone())?;
        Ok((raw, stored?))
    }

    fn gone() -> io::Error {
        io::Error::other("a thread that compresses has ended")
    }
}

/// What a block says of itself before its payload, all of it possible.
struct Start {
    prefix: [u8; PREFIX],
    /// The length of the payload.
    len: usize,
    crc: u32,
}

/// Read the block at `at`, which must end at `end` at the latest. Returns its contents and where it ends.
pub(super) fn read(file: &File, at: u64, end: u64) -> Result<(Vec<u8>, u64), Fault> {
    let stored = stored(file, at, end)?;
    Ok((stored.contents()?, at + stored.0.len() as u64))
}

/// A block as it is stored, wherever that is.
pub(super) struct Stored(Vec<u8>);

/// Reads the block at `at` without decompressing it.
pub(super) fn stored(file: &File, at: u64, end: u64) -> Result<Stored, Fault> {
    let start = start(file, at, end)?;
    let mut bytes = vec![0; PREFIX + start.len];
    bytes[..PREFIX].copy_from_slice(&start.prefix);
    verify(file, at, &start, &mut bytes[PREFIX..])?;
    Ok(Stored(bytes))
}

impl Stored {
    /// Decompresses it.
    pub(super) fn contents(&self) -> Result<Vec<u8>, Fault> {
        let len = u32_at(&self.0, 4) as usize;
        let raw = Decompressor::new()
            .and_then(|mut decompressor| decompressor.decompress(&self.0[PREFIX..], len))
            .map_err(|_| Fault::Damaged("a block does not decompress"))?;
        if raw.len() == len { Ok(raw) } else { Err(Fault::Damaged("a block decompresses to another length")) }
    }

    /// Returns its bytes for this offset, of which the checksum is, too.
    pub(super) fn at(mut self, at: u64) -> Vec<u8> {
        seal(&mut self.0, at);
        self.0
    }
}

/// Puts the checksum into a block that is stored at this offset.
fn seal(stored: &mut [u8], at: u64) {
    let mut hasher = checksum(at, &stored[..8]);
    hasher.update(&stored[PREFIX..]);
    let crc = hasher.finalize();
    stored[8..PREFIX].copy_from_slice(&crc.to_le_bytes());
}

/// Whether the block is as it was written, for one whose contents are not needed; it is read a buffer at a time.
pub(super) fn check(file: &File, at: u64, end: u64, buffer: &mut [u8]) -> Result<(), Fault> {
    verify(file, at, &start(file, at, end)?, buffer)
}

fn start(file: &File, at: u64, end: u64) -> Result<Start, Fault> {
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
    Ok(Start { prefix, len: len as usize, crc })
}

/// Read a block's payload, a buffer at a time, and compare its checksum.
fn verify(file: &File, at: u64, start: &Start, buffer: &mut [u8]) -> Result<(), Fault> {
    let mut hasher = checksum(at, &start.prefix[..8]);
    let mut done = 0;
    while done < start.len {
        let part = (start.len - done).min(buffer.len());
        read_exact(file, &mut buffer[..part], at + (PREFIX + done) as u64)?;
        hasher.update(&buffer[..part]);
        done += part;
    }
    if hasher.finalize() == start.crc { Ok(()) } else { Err(Fault::Damaged("a checksum does not match")) }
}

fn read_exact(file: &File, buffer: &mut [u8], at: u64) -> Result<(), Fault> {
    file.read_exact_at(buffer, at).map_err(Fault::Read)
}

/// The little-endian number at `at`, which must lie inside.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The start of a block's checksum; its payload is to follow. The offset is part of it, so that a block in a wrong
/// place does not pass.
fn checksum(at: u64, lengths: &[u8]) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(lengths);
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], helpers: usize) -> (File, u64) {
        let file = tempfile::tempfile().unwrap();
        let mut writer = BlockWriter::new(&file, 5, helpers).unwrap();
        writer.append(bytes).unwrap();
        let bounds = writer.finish().unwrap();
        (file, *bounds.last().unwrap())
    }

    /// A block with a right checksum around anything.
    fn forged(len: u32, raw_len: u32, payload: &[u8]) -> Fault {
        let mut block = [len.to_le_bytes(), raw_len.to_le_bytes()].concat();
        let mut hasher = checksum(0, &block);
        hasher.update(payload);
        block.extend_from_slice(&hasher.finalize().to_le_bytes());
        block.extend_from_slice(payload);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&block, 0).unwrap();
        read(&file, 0, block.len() as u64).unwrap_err()
    }

    #[test]
    fn cuts_a_long_stream_into_blocks() {
        let bytes: Vec<u8> = (0..BLOCK * 6 + 1).map(|n| ((n * n) >> 7) as u8).collect();
        for helpers in [0, 1, 2, 3, 9] {
            let (file, end) = written(&bytes, helpers);
            let mut at = 5;
            let mut lens = Vec::new();
            let mut all = Vec::new();
            while at < end {
                let (block, next) = read(&file, at, end).unwrap();
                lens.push(block.len() as u64);
                all.extend(block);
                at = next;
            }
            assert_eq!(lens, [BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, BLOCK, 1]);
            assert!(all == bytes);
        }
    }

    #[test]
    fn numbers_blocks_and_tells_their_bounds() {
        for helpers in [0, 2] {
            let file = tempfile::tempfile().unwrap();
            let mut writer = BlockWriter::new(&file, 7, helpers).unwrap();
            let numbers = [0, 1, 2, 3, 4_u8].map(|n| {
                writer.append(&[n; 100]).unwrap();
                writer.flush().unwrap()
            });
            assert_eq!(numbers, [1, 2, 3, 4, 5]);
            assert_eq!(writer.flush().unwrap(), 5, "nothing to end");
            let bounds = writer.finish().unwrap();
            for (n, bounds) in bounds.windows(2).enumerate() {
                assert_eq!(read(&file, bounds[0], bounds[1]).unwrap(), (vec![n as u8; 100], bounds[1]));
            }
            assert_eq!((bounds.len(), bounds[0]), (6, 7));
        }
    }

    #[test]
    fn tells_what_cannot_be_written() {
        for helpers in [0, 2] {
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let mut writer = BlockWriter::new(&full, 0, helpers).unwrap();
            let written = (0..9).try_for_each(|_| writer.append(&vec![0; BLOCK as usize]));
            let error = written.and_then(|()| writer.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn does_not_take_a_block_from_a_wrong_place() {
        let (file, end) = written(b"block", 0);
        let mut block = vec![0; (end - 5) as usize];
        file.read_exact_at(&mut block, 5).unwrap();
        file.write_all_at(&block, end).unwrap();
        assert!(read(&file, 5, end).is_ok());
        for len in [1, 3, 64] {
            assert!(check(&file, 5, end, &mut vec![0; len]).is_ok());
            let elsewhere = check(&file, end, 2 * end - 5, &mut vec![0; len]);
            assert!(matches!(elsewhere, Err(Fault::Damaged("a checksum does not match"))));
        }
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
