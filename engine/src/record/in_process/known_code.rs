//! What replaces instructions of a file's code as soon as the code is mapped.
//!
//! These are instructions that read what the program cannot determine ([`super::reads`]), operations that are to tick
//! ([`super::moved`]), and call sites that processes have reached before, except those of the program's first process
//! ([`super::call_sites`]). A process that lives briefly makes most of its calls once, in the dynamic linker: if call
//! sites were patched only when a task comes there again, each of its calls would stop.
//!
//! What has been put in place is known by file and address, and is put there at once when the file is mapped again.
//! Whether a call stops makes no difference to the schedule, so neither does what has been reached before.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;

use super::InProcess;
use crate::clock::Clock;
use crate::error::Error;
use crate::record::journal::Journal;
use crate::record::start::image::belongs;
use crate::record::step::Flow;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::{Event, MovedRead, MovedReads};
use crate::tracee::{self, FileState, Line, Memory};

/// A part of a file that is mapped as code.
pub(in crate::record) struct Mapped<'a> {
    pub(in crate::record) start: u64,
    pub(in crate::record) len: u64,
    pub(in crate::record) offset: u64,
    pub(in crate::record) file: &'a File,
    /// Whether the file is the dynamic linker.
    pub(in crate::record) linker: bool,
}

impl Mapped<'_> {
    /// Returns the range of the file.
    pub(super) fn within(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len)
    }

    /// Returns the address of an offset in the file.
    pub(super) fn address(&self, offset: u64) -> u64 {
        self.start + offset.saturating_sub(self.offset)
    }
}

/// A part of a file in its present state, at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    file: FileState,
    start: u64,
    len: u64,
    offset: u64,
    linker: bool,
}

/// What replaces the code in a part of a file.
#[derive(Debug)]
struct Replacement {
    moved: Vec<MovedRead>,
    /// The new code, with what stands between the replaced instructions where they are close together.
    code: Vec<(u64, Vec<u8>)>,
    /// How many of the file's call sites had been reached by then.
    reached: usize,
}

impl Replacement {
    /// Replacements that are closer together than this are written at once.
    const CLOSE: u64 = 512;

    /// Remembers what has been put in place in memory.
    fn in_place(memory: &Memory, moved: &[MovedRead], reached: usize) -> Result<Self, Error> {
        let mut ranges: Vec<Range<u64>> =
            moved.iter().map(|it| it.site..it.site + it.code.len() as u64).collect();
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start < last.end + Self::CLOSE => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        let bytes = |range: Range<u64>| {
            Ok((range.start, memory.bytes(range.start, (range.end - range.start) as usize)?))
        };
        let code = joined.into_iter().map(bytes).collect::<Result<_, Error>>()?;
        // The stubs are in place.
        let moved = moved.iter().map(|it| MovedRead { stub_code: Vec::new(), ..it.clone() }).collect();
        Ok(Self { moved, code, reached })
    }
}

/// What replaces the code in parts of files.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct KnownCode(BTreeMap<Part, Rc<Replacement>>);

impl KnownCode {
    /// For how many parts this is remembered.
    const MOST: usize = 512;

    fn remember(&mut self, part: Part, replacement: Replacement) {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(part, Rc::new(replacement));
    }
}

impl InProcess {
    /// Replaces instructions of a program that a task has executed and that has these mappings. With `ahead`, call
    /// sites are among them.
    pub(in crate::record) fn replace_in_image(
        &mut self,
        tasks: &Tasks,
        clock: &Clock,
        journal: &mut Journal,
        id: TaskId,
        lines: &[Line],
        ahead: bool,
    ) -> Flow<()> {
        use std::os::unix::fs::MetadataExt;
        let exe = tracee::Place::Program.metadata(tasks[id].pid).map(|it| it.ino()).unwrap_or(0);
        let linked = lines.iter().any(|line| belongs(line) && line.inode != 0 && line.inode != exe);
        for line in lines.iter().filter(|line| belongs(line) && is_code(line)) {
            let file = journal.log.mapped((line.dev, line.inode)).map(File::try_clone);
            let Some(Ok(file)) = file else { continue };
            let (start, len, offset) = (line.start, line.end - line.start, line.offset);
            let mapped = Mapped { start, len, offset, file: &file, linker: linked && line.inode != exe };
            self.replace_in(tasks, clock, journal, id, &mapped, ahead)?;
        }
        Ok(())
    }

    /// Replaces instructions in code that a task has mapped and nobody has executed yet. With `ahead`, call sites are
    /// among them.
    pub(in crate::record) fn replace_in(
        &mut self,
        tasks: &Tasks,
        clock: &Clock,
        journal: &mut Journal,
        id: TaskId,
        mapped: &Mapped<'_>,
        ahead: bool,
    ) -> Flow<()> {
        // A file that cannot be read is no program.
        let Ok(file) = FileState::of(mapped.file) else { return Ok(()) };
        let Mapped { start, len, offset, linker, .. } = *mapped;
        let part = Part { file, start, len, offset, linker };
        let memory = &tasks.space(id).memory;
        let reached = if ahead { self.call_sites.reached(&file) } else { &[] }.len();
        let known = self.known.0.get(&part).filter(|known| known.reached == reached);
        let moved = if let Some(known) = known {
            for (address, code) in &known.code {
                memory.write(*address, code)?;
            }
            known.moved.clone()
        } else {
            let (call_sites, reads) = (&mut self.call_sites, &mut self.reads);
            let mut moved = self.moved.move_code(clock, call_sites, reads, memory, mapped, self.ticking)?;
            if ahead {
                moved.extend(self.call_sites.patch_ahead(clock.area(), memory, &file, mapped)?);
            }
            self.known.remember(part, Replacement::in_place(memory, &moved, reached)?);
            moved
        };
        if !moved.is_empty() {
            journal.log.push(Event::MovedReads(MovedReads { task: id, moved }));
        }
        Ok(())
    }
}

/// Whether a mapping is private code of a file, which the program does not write.
fn is_code(line: &Line) -> bool {
    let is_code = line.prot & (libc::PROT_WRITE | libc::PROT_EXEC) == libc::PROT_EXEC;
    is_code && line.inode != 0 && !line.shared
}

#[cfg(test)]
mod tests {
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn what_is_close_together_is_written_at_once() {
        let code = [7_u8; 2000];
        let memory = Memory::open(Pid::this()).unwrap();
        let at = |offset: usize| (&raw const code[offset]) as u64;
        let moved = |offset, len| MovedRead {
            site: at(offset),
            code: vec![7; len],
            stub: 0,
            stub_code: vec![1],
            places: Vec::new(),
        };
        let all = [moved(1900, 9), moved(100, 7), moved(10, 8), moved(104, 7)];
        let known = Replacement::in_place(&memory, &all, 0).unwrap();
        let written: Vec<_> = known.code.iter().map(|(address, code)| (*address, code.len())).collect();
        assert_eq!(written, [(at(10), 101), (at(1900), 9)]);
        assert!(known.moved.iter().all(|it| it.stub_code.is_empty()), "stubs are in place");
        assert_eq!(known.moved.len(), all.len());
    }
}
