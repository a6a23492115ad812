//! Where threads were spawned.
//!
//! This is needed only if a report has several threads of the same name. So only registers and the top of the creator's
//! stack are kept, as they were when it created the thread; they are unwound if needed.

use nix::unistd::Pid;

use crate::symbols::{Mapping, StackRegisters, Symbols, interesting};
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
    pub(in crate::record) fn place(&self, symbols: &mut Symbols) -> Option<(String, u32)> {
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

/// Reads the symbols of the files mapped in a task's address space.
pub(in crate::record) fn symbols_of(tid: Pid) -> Symbols {
    let lines = maps(tid).unwrap_or_default();
    let files = lines.into_iter().filter(|line| line.inode != 0);
    let mappings: Vec<Mapping> = files
        .map(|line| Mapping {
            start: line.start,
            len: line.end - line.start,
            path: line.path,
            offset: line.offset,
        })
        .collect();
    Symbols::new(&mappings)
}
