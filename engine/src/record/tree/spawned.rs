//! Where threads were spawned.
//!
//! That is wanted only where a report has threads of the same name. So of each thread's maker no more is kept than registers and
//! the end of its stack, as they are when it makes the thread: unwound they are if need be.

use std::collections::BTreeSet;

use super::tasks::Task;
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
    fn place(&self, symbols: &mut Symbols) -> Option<(String, u32)> {
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

/// Where a task was spawned, if another has the same name.
pub(in crate::record) fn spawned(
    task: &Task,
    shared: &BTreeSet<&str>,
    symbols: &mut Symbols,
) -> Option<(String, u32)> {
    let maker = task.maker.as_ref().filter(|_| shared.contains(&*task.name))?;
    maker.place(symbols)
}

/// The names that several of these tasks have.
pub(in crate::record) fn shared_names<'a>(tasks: &[&'a Task]) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    tasks.iter().map(|task| &*task.name).filter(|name| !seen.insert(*name)).collect()
}

/// The symbols of what a task's address space has mapped.
pub(in crate::record) fn symbols_of(task: &Task) -> Symbols {
    let lines = maps(task.tid).unwrap_or_default();
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
