//! Where threads were spawned.
//!
//! That is wanted only where a report has threads of the same name. So of each thread's maker no more is kept than registers and
//! the end of its stack, as they are when it makes the thread: unwound they are if need be.

use nix::unistd::Pid;

use crate::symbols::{Mapping, StackRegisters, Symbols, interesting};
use crate::tracee::maps;

/// The stack of a task that makes a thread.
#[derive(Debug)]
pub(in crate::record) struct Maker {
    pub(in crate::record) registers: StackRegisters,
    /// What is on the stack, from where the stack pointer points to.
    pub(in crate::record) stack: Vec<u8>,
}

impl Maker {
    /// The source file and line of the program's own that led to the thread, if they are found.
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

/// The symbols of what the address space of a task has mapped.
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
