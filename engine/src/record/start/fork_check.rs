//! Finds the words of a process's memory that contain its id, by comparing two processes (a fork check).
//!
//! Two processes that have started up in the same way differ in nothing but their ids. So the words in which they
//! differ must be their ids and nothing else. Then a copy of either with its own id there is what a third process would
//! be. Had an id gone into anything else (a text, a hash, a decision), the comparison would show it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use crate::error::Error;
use crate::tracee::{Line, Memory, Registers, Stopped, maps, present};

/// Bytes of a word that holds an id.
const WORD: usize = 4;

/// Bytes below the stack pointer that functions may use (System V ABI, AMD64 supplement, 3.2.2). What is further down
/// is left over from functions that have returned.
const RED_ZONE: u64 = 128;

/// Bytes compared at a time.
const PART: u64 = 1 << 20;

/// Returns the addresses of the words that hold the id of `one`, and in `other` at the same point the id of `other`; or
/// else what differs otherwise. Both have a single task.
pub(in crate::record) fn ids(
    one: (&Stopped, &Memory),
    other: (&Stopped, &Memory),
) -> Result<Result<Vec<u64>, String>, Error> {
    let registers = one.0.registers()?;
    if registers != other.0.registers()? || one.0.vectors()? != other.0.vectors()? {
        return Ok(Err("its registers depend on its process id".into()));
    }
    let (lines, others) = (maps(one.0.tid())?, maps(other.0.tid())?);
    if lines != others {
        return Ok(Err("its memory is laid out differently each time".into()));
    }
    let mut words = Vec::new();
    for line in lines.iter().filter(|line| !line.shared && line.prot != 0) {
        for part in touched(line, &registers, [one.0, other.0]) {
            let bytes =
                [one.1, other.1].map(|memory| memory.available(part.start, (part.end - part.start) as usize));
            let tids = [one.0, other.0].map(|task| task.tid().as_raw().to_ne_bytes());
            let [ours, theirs] = bytes.each_ref().map(|bytes| bytes.chunks(WORD));
            for (index, (our, their)) in ours.zip(theirs).enumerate() {
                let address = part.start + (index * WORD) as u64;
                if our == tids[0] && their == tids[1] {
                    words.push(address);
                } else if our != their {
                    return Ok(Err(format!("memory at {address:#x} is different each time")));
                }
            }
        }
    }
    Ok(Ok(words))
}

/// Returns the relevant parts of a mapping that one of the tasks has touched.
fn touched(line: &Line, registers: &Registers, tasks: [&Stopped; 2]) -> Vec<Range<u64>> {
    let stack = line.path == Path::new("[stack]");
    let start = if stack { (registers.sp() - RED_ZONE).max(line.start) } else { line.start };
    // Whole pages.
    let pages = start / crate::tracee::PAGE * crate::tracee::PAGE..line.end;
    let mut parts = BTreeSet::new();
    for task in tasks {
        for part in present(task.tid(), pages.clone()) {
            let mut at = part.start;
            while at < part.end {
                let end = part.end.min((at / PART + 1) * PART);
                parts.insert((at.max(start / 8 * 8), end));
                at = end;
            }
        }
    }
    parts.into_iter().map(|(start, end)| start..end).collect()
}
