//! Reads `/proc/PID/pagemap` (proc_pid_pagemap(5)).

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use nix::unistd::Pid;

use crate::tracee::system::PAGE;

/// Set for a page in memory, and for a page in swap space.
const PRESENT_OR_SWAPPED: u64 = 1 << 63 | 1 << 62;

/// Returns the parts of `range` (whole pages) that have been touched, by address; all of it if the kernel does not
/// report it.
#[must_use]
pub fn present(pid: Pid, range: Range<u64>) -> Vec<Range<u64>> {
    let mut entries = vec![0_u8; ((range.end - range.start) / PAGE * 8) as usize];
    let told = File::open(format!("/proc/{pid}/pagemap"))
        .and_then(|file| file.read_exact_at(&mut entries, range.start / PAGE * 8));
    if told.is_err() {
        return vec![range];
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (number, entry) in entries.chunks_exact(8).enumerate() {
        let entry = entry.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let start = range.start + number as u64 * PAGE;
        match parts.last_mut() {
            _ if entry & PRESENT_OR_SWAPPED == 0 => {}
            Some(last) if last.end == start => last.end += PAGE,
            _ => parts.push(start..start + PAGE),
        }
    }
    parts
}
