//! Who has locked the mutexes that a deadlock is about.
//!
//! A mutex of std's is one word, 0 as long as nobody has it, and says nothing of who has. So its writes are watched: who last made
//! it other than 0 is the owner.

use std::rc::Rc;

use super::replayer::Replayer;
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{Stop, Stopped};

/// A word, what was last seen there, and who has last made it other than 0.
#[derive(Debug)]
pub(super) struct Locked {
    address: u64,
    value: u32,
    by: Option<TaskId>,
}

impl Locked {
    /// At an address, where nothing has been seen yet.
    pub(super) fn new(address: u64) -> Self {
        Self { address, value: 0, by: None }
    }
}

impl Replayer<'_> {
    /// A new task's writes are watched too.
    pub(super) fn watch_locks(&self, task: &Stopped) -> Result<(), Error> {
        match self.options.watch {
            [] => Ok(()),
            words => task.watch_writes(words),
        }
    }

    /// Whether the running task has stopped only because it has written to one of the words.
    pub(super) fn has_locked(&mut self, task: &Stopped, stop: Stop) -> Result<bool, Error> {
        /// `TRAP_HWBKPT` of sigaction(2).
        const HARDWARE: i32 = 4;
        if self.options.watch.is_empty()
            || stop != Stop::Signal(libc::SIGTRAP)
            || task.signal_info()?.si_code != HARDWARE
        {
            return Ok(false);
        }
        let (space, current) = (self.space(), self.current);
        for word in &mut self.locked {
            let value = space.memory.u32(word.address).unwrap_or(0);
            if word.value == 0 && value != 0 {
                word.by = Some(current);
            }
            word.value = value;
        }
        Ok(true)
    }

    /// The owners of those words that have one; none where an address means several things.
    pub(super) fn lockers(&self) -> Vec<(u64, TaskId)> {
        if self.tasks.iter().any(|task| !Rc::ptr_eq(&task.space, &self.tasks[0].space)) {
            return Vec::new();
        }
        let held = self.locked.iter().filter(|word| word.value != 0);
        held.filter_map(|word| Some((word.address, word.by?))).collect()
    }
}
