//! Futexes in memory that processes share: they meet there, whatever its address in each (futex(2)).

use std::collections::HashMap;

use super::recorder::Recorder;
use crate::schedule::futex::FutexKey;
use crate::task::TaskId;
use crate::trace::inodes::Identity;
use crate::tracee::maps;

/// What the recorder knows of shared memory.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Whether the program has made any: else nobody need look.
    pub(super) made: bool,
    /// What numbers stand for objects in futex keys, from the largest down.
    numbers: HashMap<Identity, u32>,
}

impl Sharing {
    fn number(&mut self, object: Identity) -> u32 {
        let next = u32::MAX - self.numbers.len() as u32;
        *self.numbers.entry(object).or_insert(next)
    }
}

impl Recorder<'_> {
    /// What a word of a task's memory is to the futex queues. A `private` one (`FUTEX_PRIVATE_FLAG`) is the address
    /// space's own wherever it lies.
    pub(super) fn futex_key(&mut self, id: TaskId, address: u64, private: bool) -> FutexKey {
        let space = self.tasks[id].space.number;
        if private || !self.sharing.made {
            return FutexKey { space, address };
        }
        let living = self.tasks.living().find(|t| t.space.number == space);
        let lines = living.and_then(|task| maps(task.tid).ok()).unwrap_or_default();
        match lines.iter().find(|line| line.shared && (line.start..line.end).contains(&address)) {
            Some(line) => FutexKey {
                space: self.sharing.number((line.dev, line.inode)),
                address: line.offset + (address - line.start),
            },
            None => FutexKey { space, address },
        }
    }
}
