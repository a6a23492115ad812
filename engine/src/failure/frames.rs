//! Stacks of a replay's tasks with names and lines.

use std::collections::BTreeMap;

use super::stack_of;
use crate::carried::Carried;
use crate::ending::Frame;
use crate::error::Error;
use crate::replay::Session;
use crate::symbols::Symbols;
use crate::task::TaskId;

/// Reads stacks with the symbols that a trace carries. Those of an address space are read once.
pub(crate) struct Frames<'c, 'a> {
    carried: &'c Carried<'a>,
    by_space: BTreeMap<usize, Symbols>,
}

impl<'c, 'a> Frames<'c, 'a> {
    pub(crate) fn new(carried: &'c Carried<'a>) -> Self {
        Self { carried, by_space: BTreeMap::new() }
    }

    /// Returns the stack of a task where it stands, innermost frame first; empty if there is no such task (any more).
    ///
    /// # Errors
    /// As for [`Session::registers`] and [`Carried::file`].
    pub(crate) fn of(&mut self, session: &mut Session<'_>, task: TaskId) -> Result<Vec<Frame>, Error> {
        let Some(space) = session.state().space(task) else { return Ok(Vec::new()) };
        if !self.by_space.contains_key(&space) {
            let mapped = session.mapped(task)?;
            self.by_space.insert(space, self.carried.symbols(&mapped)?);
        }
        let Some(symbols) = self.by_space.get_mut(&space) else { return Ok(Vec::new()) };
        let stack = stack_of(session, task, symbols)?;
        Ok(self.carried.frames(symbols, &stack)?.concat())
    }

    /// A task executes another program from now on.
    pub(crate) fn forget(&mut self, session: &Session<'_>, task: TaskId) {
        if let Some(space) = session.state().space(task) {
            self.by_space.remove(&space);
        }
    }
}
