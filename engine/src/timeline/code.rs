//! Where in the code a task has come from: places at which it must have been shortly before.
//!
//! A trap may stand only where an instruction begins. Where a function begins is known from what unwinders search: the
//! table of `.eh_frame_hdr`, which programs and libraries have in memory (Linux Standard Base, core, 10.6.2); from there
//! on its instructions follow each other.

use iced_x86::{Decoder, DecoderOptions};

use crate::replay::Session;
use crate::symbols::Mapping;
use crate::task::TaskId;
use crate::tracee::Registers;

/// A longer function is not decoded.
const LONGEST: u64 = 1 << 20;

/// Returns the addresses of instructions by which a task with these registers has come: the one before, and the function's
/// first; at the beginning of a function, the call and the calling function's first. As far as they are known.
/// `top` is the word at the top of the stack.
pub(super) fn before(
    session: &Session<'_>,
    task: TaskId,
    registers: &Registers,
    top: Option<u64>,
) -> Vec<u64> {
    let ip = registers.ip();
    if function(session, task, ip) != Some(ip) {
        return within(session, task, ip);
    }
    top.map_or_else(Vec::new, |returns| within(session, task, returns))
}

/// The instruction before this address, and the first one of the function that has both.
fn within(session: &Session<'_>, task: TaskId, ip: u64) -> Vec<u64> {
    let Some(start) = function(session, task, ip).filter(|start| ip - start < LONGEST) else {
        return Vec::new();
    };
    let Ok(code) = session.read(task, start, (ip - start) as usize) else { return Vec::new() };
    let mut decoder = Decoder::with_ip(64, &code, start, DecoderOptions::NONE);
    let (mut last, mut next) = (None, start);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return vec![start];
        }
        (last, next) = (Some(instruction.ip()), instruction.next_ip());
    }
    // Else it is in the middle of what the function has there.
    let last = last.filter(|last| next == ip && *last != start);
    last.into_iter().chain((start != ip).then_some(start)).collect()
}

/// Returns where the function begins that has this address.
fn function(session: &Session<'_>, task: TaskId, ip: u64) -> Option<u64> {
    let mapped = session.mapped(task).ok()?;
    let here = mapped.iter().find(|mapping| mapping.has(ip))?;
    // The file's beginning is mapped as well, by the nearest mapping of it that is not above.
    let is_head = |it: &&Mapping| it.path == here.path && it.offset == 0 && it.start <= here.start;
    let base = mapped.iter().filter(is_head).map(|it| it.start).max()?;
    let read = |address: u64, len: usize| session.read(task, address, len).ok();
    let table = Table::of(base, &read)?;
    table.last_up_to(ip, &read)
}

/// The table of a program's or library's functions, in memory.
struct Table {
    /// Where the section begins, from which addresses are counted.
    section: u64,
    entries: u64,
    count: u64,
}

type Read<'r> = &'r dyn Fn(u64, usize) -> Option<Vec<u8>>;

fn word(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    Some(bytes.get(at..at + len)?.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

impl Table {
    /// Finds it by the headers of the file that is mapped from `base` on (elf(5)).
    fn of(base: u64, read: Read<'_>) -> Option<Self> {
        /// The header: its bytes, and where it says where the program headers are, and how many.
        const HEADER: usize = 64;
        const ENTRY: usize = 56;
        const MAGIC: &[u8] = b"\x7fELF\x02";
        const PT_LOAD: u64 = 1;
        const PT_GNU_EH_FRAME: u64 = 0x6474_e550;
        /// How the section is encoded, if it is as all linkers write it: version 1, a pointer, a count, pairs that are
        /// counted from the section's beginning (`DW_EH_PE_udata4`, `DW_EH_PE_datarel | DW_EH_PE_sdata4`).
        const COUNT: u64 = 0x03;
        const PAIRS: u64 = 0x3b;
        let header = read(base, HEADER)?;
        if !header.starts_with(MAGIC) {
            return None;
        }
        let (at, count) = (word(&header, 32, 8)?, word(&header, 56, 2)? as usize);
        let headers = read(base.checked_add(at)?, count * ENTRY)?;
        let entries: Vec<&[u8]> = headers.chunks_exact(ENTRY).collect();
        let address = |kind: u64| {
            let entry = entries.iter().find(|entry| word(entry, 0, 4) == Some(kind))?;
            word(entry, 16, 8)
        };
        let first = address(PT_LOAD)? & !(crate::tracee::PAGE - 1);
        let section = base.checked_sub(first)?.checked_add(address(PT_GNU_EH_FRAME)?)?;
        let head = read(section, 12)?;
        let is_known = word(&head, 0, 1)? == 1 && word(&head, 2, 1)? == COUNT && word(&head, 3, 1)? == PAIRS;
        is_known.then_some(Self { section, entries: section.checked_add(12)?, count: word(&head, 8, 4)? })
    }

    /// The last function that does not begin after an address.
    fn last_up_to(&self, address: u64, read: Read<'_>) -> Option<u64> {
        let start = |n: u64| {
            let entry = read(self.entries.checked_add(8 * n)?, 4)?;
            let offset = i32::from_le_bytes(entry.try_into().ok()?);
            self.section.checked_add_signed(offset.into())
        };
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if start(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        start(low.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;
    use crate::tracee::{Memory, maps};

    #[test]
    fn functions_of_this_program_are_found() {
        let memory = Memory::open(Pid::this()).expect("this process's memory");
        let read = |address: u64, len: usize| memory.bytes(address, len).ok();
        let here = functions_of_this_program_are_found as fn() as usize as u64;
        let lines = maps(Pid::this()).expect("what is mapped");
        let own = lines.iter().find(|line| (line.start..line.end).contains(&here)).expect("this code");
        let head = lines.iter().find(|line| line.path == own.path && line.offset == 0).expect("the program");
        let table = Table::of(head.start, &read).expect("a table");
        for address in [here, here + 1, here + 5] {
            assert_eq!(table.last_up_to(address, &read), Some(here));
        }
        assert!(table.last_up_to(here - 1, &read) < Some(here));
        assert_eq!(table.last_up_to(0, &read), None);
        assert!(Table::of(here & !4095, &read).is_none(), "no header");
    }
}
