//! Keys of futexes in shared memory: processes meet there, whatever the address in each (futex(2)).

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::Futexes;
use crate::record::tree::tasks::Tasks;
use crate::schedule::futex::FutexKey;
use crate::task::TaskId;
use crate::trace::inodes::Identity;
use crate::tracee::maps;

/// What the recorder knows about shared memory.
#[derive(Debug, Default)]
pub(in crate::record) struct Sharing {
    /// Whether the program has any. If not, nothing needs to be looked up.
    pub(in crate::record) made: bool,
    /// Numbers that stand for objects in futex keys, counted down from the largest.
    numbers: HashMap<Identity, u32>,
    /// Shared mappings by address space, valid until a mapping changes.
    mappings: HashMap<u32, Vec<Mapping>>,
    /// Tasks that will change mappings when they go on.
    changing: BTreeSet<TaskId>,
}

/// A shared mapping of a part of an object.
#[derive(Debug)]
struct Mapping {
    range: Range<u64>,
    object: Identity,
    offset: u64,
}

impl Sharing {
    fn number(&mut self, object: Identity) -> u32 {
        let next = u32::MAX - self.numbers.len() as u32;
        *self.numbers.entry(object).or_insert(next)
    }

    /// Forgets all mappings, as one has changed.
    pub(in crate::record) fn forget(&mut self) {
        self.mappings.clear();
    }

    /// Notes that a task will change a mapping before its next stop.
    pub(in crate::record) fn changes(&mut self, id: TaskId) {
        self.changing.insert(id);
    }

    /// Notes that a task has stopped or ended.
    pub(in crate::record) fn has_changed(&mut self, id: TaskId) {
        if self.changing.remove(&id) {
            self.forget();
        }
    }
}

impl Futexes {
    /// Returns the key by which the futex queues know a word of a task's memory. A `private` one (`FUTEX_PRIVATE_FLAG`)
    /// belongs to the address space, wherever it lies.
    pub(in crate::record) fn futex_key(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        address: u64,
        private: bool,
    ) -> FutexKey {
        let space = tasks[id].space.number;
        if private || !self.sharing.made {
            return FutexKey { space, address };
        }
        if !self.sharing.changing.is_empty() {
            self.sharing.forget();
        }
        self.sharing.mappings.entry(space).or_insert_with(|| tasks.shared_mappings(space));
        let found = self.sharing.mappings[&space].iter().find(|mapping| mapping.range.contains(&address));
        match found.map(|mapping| (mapping.object, mapping.offset + (address - mapping.range.start))) {
            Some((object, address)) => FutexKey { space: self.sharing.number(object), address },
            None => FutexKey { space, address },
        }
    }
}

impl Tasks {
    fn shared_mappings(&self, space: u32) -> Vec<Mapping> {
        let living = self.living().find(|task| task.space.number == space);
        let lines = living.and_then(|task| maps(task.tid).ok()).unwrap_or_default();
        let shared = lines.into_iter().filter(|line| line.shared);
        shared
            .map(|line| Mapping {
                range: line.start..line.end,
                object: (line.dev, line.inode),
                offset: line.offset,
            })
            .collect()
    }
}
