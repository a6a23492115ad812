//! Where threads were spawned.
//!
//! This is needed only if a report has several threads of the same name. So only registers and the top of the creator's
//! stack are kept, as they were when it created the thread; they are unwound if needed.

use std::cell::Cell;

use nix::unistd::Pid;

use crate::ending::Frame;
use crate::symbols::origin::interesting;
use crate::symbols::{Mapping, StackRegisters, Symbols};
use crate::tracee::maps;

/// The stack of a task that creates a thread.
#[derive(Debug)]
pub(in crate::record) struct Maker {
    pub(in crate::record) registers: StackRegisters,
    /// The stack's contents, beginning at the stack pointer.
    pub(in crate::record) stack: Vec<u8>,
}

impl Maker {
    /// Returns the source file and line, in the program's own code, that led to the thread.
    pub(in crate::record) fn place(&self, symbols: &mut KnownSymbols) -> Option<(String, u32)> {
        let frames = symbols.backtrace(self.registers, &mut |address, buffer| {
            let at = address.checked_sub(self.registers.rsp).and_then(|at| usize::try_from(at).ok());
            let found = at.and_then(|at| self.stack.get(at..at.checked_add(buffer.len())?));
            found.is_some_and(|found| {
                buffer.copy_from_slice(found);
                true
            })
        });
        interesting(&frames)?.location.clone()
    }
}

/// Which files are mapped where, by inode.
type Mapped = Vec<(u64, Mapping)>;

thread_local! {
    /// The symbols that were read last. Failures that are made again and again on a thread, to find out what they need,
    /// mostly have the same files in the same places, and reading these takes longer than an attempt.
    static LAST: Cell<Option<(Mapped, Symbols)>> = const { Cell::new(None) };
}

/// Symbols of a task's address space; the next one with the same files gets them.
pub(in crate::record) struct KnownSymbols(Option<(Mapped, Symbols)>);

impl KnownSymbols {
    /// As [`Symbols::backtrace`].
    pub(in crate::record) fn backtrace(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Vec<Frame> {
        self.0.as_mut().map_or_else(Vec::new, |(_, symbols)| symbols.backtrace(registers, read))
    }

    /// As [`Symbols::awaited`].
    pub(in crate::record) fn awaited(
        &mut self,
        registers: StackRegisters,
        read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
    ) -> Vec<Frame> {
        self.0.as_mut().map_or_else(Vec::new, |(_, symbols)| symbols.awaited(registers, read))
    }
}

impl Drop for KnownSymbols {
    fn drop(&mut self) {
        LAST.set(self.0.take());
    }
}

/// Reads the symbols of the files mapped in a task's address space.
pub(in crate::record) fn symbols_of(tid: Pid) -> KnownSymbols {
    let lines = maps(tid).unwrap_or_default();
    let files = lines.into_iter().filter(|line| line.inode != 0);
    let mapped: Mapped = files
        .map(|line| {
            let len = line.end - line.start;
            (line.inode, Mapping { start: line.start, len, path: line.path, offset: line.offset })
        })
        .collect();
    let known = LAST.take().filter(|(known, _)| *known == mapped);
    KnownSymbols(Some(known.unwrap_or_else(|| {
        let mappings: Vec<Mapping> = mapped.iter().map(|(_, mapping)| mapping.clone()).collect();
        (mapped, Symbols::new(&mappings))
    })))
}
