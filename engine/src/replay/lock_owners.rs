//! Who has locked the mutexes that a deadlock is about.
//!
//! A mutex of std's is one word, 0 as long as nobody has it, 1 if somebody has, 2 if others wait for it besides; it
//! says nothing of who has it. So its writes are watched. It is locked by a locked instruction that finds a 0 and
//! leaves one of the others (std::sys::sync::mutex::futex): whoever executes that is the owner, until somebody writes
//! a 0. Whatever else is written to the word, by a plain store or by the kernel, which is seen afterwards, is not a
//! mutex's doing: memory that was freed and is used for something else has no owner, whoever locked what was there
//! before.

use super::session::Session;
use super::stops::{Limit, Why};
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{Point, exchanged};

/// What nobody has, what somebody has, and what others wait for.
const UNLOCKED: u32 = 0;
const LOCKED: u32 = 1;
const CONTENDED: u32 = 2;

/// A word, what was last seen there, and who has it locked, if that is certain.
#[derive(Debug)]
struct Locked {
    address: u64,
    value: u32,
    by: Option<TaskId>,
}

impl Locked {
    /// At an address, where nothing has been seen yet.
    fn new(address: u64) -> Self {
        Self { address, value: UNLOCKED, by: None }
    }

    /// A task has written this value. `found` is what was there before, if the instruction was a locked one that tells.
    fn written(&mut self, value: u32, found: Option<u32>, by: TaskId) {
        let is_as_seen = found == Some(self.value);
        self.by = match (found, value) {
            (Some(UNLOCKED), LOCKED | CONTENDED) => Some(by),
            // Who waits says so, or looks again. If it was changed in between, it was not by a task.
            (Some(_), LOCKED | CONTENDED) if is_as_seen => self.by,
            _ => None,
        };
        self.value = value;
    }
}

/// Replay to the end. The owners of those of these words that others wait for, where they are certain: the word, the
/// task and its name; none where an address means several things.
pub(super) fn run(session: &mut Session<'_>, words: &[u64]) -> Result<Vec<(u64, TaskId, String)>, Error> {
    let len = size_of::<u32>() as u8;
    let mut locked = Vec::new();
    for address in words {
        if session.stop_at(Point::Write { address: *address, len }) {
            locked.push(Locked::new(*address));
        }
    }
    while session.step(Limit::End)?.why != Why::Ended {
        let current = session.state().current();
        let (memory, registers) = session.running()?;
        for word in &mut locked {
            let value = memory.u32(word.address).unwrap_or(UNLOCKED);
            let found = registers.and_then(|registers| exchanged(memory, &registers, word.address));
            if found.is_some() || value != word.value {
                word.written(value, found, current);
            }
        }
    }
    let state = session.state();
    if state.tasks.iter().any(|task| task.space != state.tasks[0].space) {
        return Ok(Vec::new());
    }
    let (memory, _) = session.running()?;
    let held = locked
        .iter()
        .filter(|word| word.value == CONTENDED && memory.u32(word.address).ok() == Some(CONTENDED));
    let owners = held.filter_map(|word| {
        let by = word.by?;
        Some((word.address, by, state.tasks.get(by.0 as usize)?.name.clone()))
    });
    Ok(owners.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has the word after these writes: the value, what a locked instruction found, and by whom.
    fn after(writes: &[(u32, Option<u32>, u32)]) -> Option<TaskId> {
        let mut word = Locked::new(0x10);
        writes.iter().for_each(|(value, found, by)| word.written(*value, *found, TaskId(*by)));
        word.by
    }

    #[test]
    fn who_found_it_unlocked_has_it() {
        assert_eq!(after(&[(1, Some(0), 7), (2, Some(1), 8), (2, Some(2), 9)]), Some(TaskId(7)));
        assert_eq!(after(&[(1, Some(0), 7), (0, Some(1), 7), (2, Some(0), 8)]), Some(TaskId(8)));
        assert_eq!(after(&[(1, Some(0), 7), (0, None, 7)]), None);
    }

    #[test]
    fn what_no_mutex_writes_has_no_owner() {
        let unlocked = [(1, Some(0), 7), (0, Some(1), 7)];
        let waits = (2, Some(0xdddd_dddd), 8);
        assert_eq!(after(&[&unlocked[..], &[(0xdddd_dddd, None, 7), waits]].concat()), None);
        assert_eq!(after(&[&unlocked[..], &[(1, None, 7), (2, Some(1), 8)]].concat()), None, "a plain store");
        assert_eq!(after(&[&unlocked[..], &[(2, Some(1), 8)]].concat()), None, "the kernel has written a 1");
    }
}
