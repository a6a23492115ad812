//! Snapshots of memory, to see what changes.

use nix::unistd::Pid;
use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::trace::event::Extent;
use crate::tracee::{Line, Memory, PAGE, maps, present};

/// Bytes of memory in a snapshot at most. Memory that is likeliest to change comes first.
const MOST_BYTES: u64 = 64 << 20;

/// Bytes of which a trace has digests.
const MOST_DIGESTED: u64 = 4 << 20;

/// Bytes below the stack pointer that a function may use (System V ABI, AMD64 supplement, 3.2.2).
const RED_ZONE: u64 = 128;

/// Writable memory of a process that a task with a certain stack pointer may use, at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Address and contents: the task's stack, data of programs and libraries, the rest.
    parts: Vec<(u64, Vec<u8>)>,
}

impl Snapshot {
    /// Takes a snapshot for a task with this stack pointer.
    ///
    /// # Errors
    /// If the task is gone.
    pub(super) fn take(tid: Pid, memory: &Memory, sp: u64) -> Result<Self, Error> {
        let top = sp.saturating_sub(RED_ZONE);
        let own = |line: &Line| (line.start..line.end).contains(&sp);
        let mut lines = maps(tid)?;
        let ours = AREA as u64..(AREA + AREA_LEN) as u64;
        lines.retain(|line| line.prot & libc::PROT_WRITE != 0 && !ours.contains(&line.start));
        lines.sort_by_key(|line| (!own(line), line.inode == 0, line.start));
        let mut room = MOST_BYTES;
        let mut parts = Vec::new();
        for line in lines {
            let start = if own(&line) { top.max(line.start) } else { line.start };
            for touched in present(tid, start / PAGE * PAGE..line.end) {
                let from = touched.start.max(start);
                let len = (touched.end - from).min(room);
                room -= len;
                parts.push((from, memory.available(from, len as usize)));
            }
        }
        parts.retain(|(_, bytes)| !bytes.is_empty());
        Ok(Self { parts })
    }

    /// Returns the addresses of up to `most` words that have changed since `before`.
    pub(super) fn changed_since(&self, before: &Self, most: usize) -> Vec<u64> {
        const WORD: usize = size_of::<u64>();
        let mut changed = Vec::new();
        for (address, bytes) in &self.parts {
            let Some((_, old)) = before.parts.iter().find(|(other, _)| other == address) else { continue };
            let words = bytes.chunks_exact(WORD).zip(old.chunks_exact(WORD)).enumerate();
            let differ = words.filter(|(_, (new, old))| new != old);
            changed.extend(differ.map(|(at, _)| address + (at * WORD) as u64).take(most - changed.len()));
        }
        changed
    }

    /// Returns digests of the snapshot, for the trace.
    pub(super) fn digests(&self) -> Vec<Extent> {
        let mut room = MOST_DIGESTED;
        let mut digests = Vec::new();
        for (address, bytes) in &self.parts {
            let len = (bytes.len() as u64).min(room);
            room -= len;
            if len > 0 {
                let digest = crc32fast::hash(&bytes[..len as usize]);
                digests.push(Extent { address: *address, len, digest });
            }
        }
        digests
    }
}
