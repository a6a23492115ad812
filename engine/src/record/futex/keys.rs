//! Keys of futexes in shared memory: processes meet there, whatever the address in each (futex(2)).

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::Futexes;
use crate::error::Error;
use crate::record::tree::tasks::Tasks;
use crate::schedule::futex::FutexKey;
use crate::task::TaskId;
use crate::trace::log::inodes::Identity;
use crate::tracee::{Line, maps};

/// What the recorder knows about shared memory.
#[derive(Debug, Default)]
pub(in crate::record) struct FutexKeys {
    /// Whether the program has any. If not, nothing needs to be looked up.
    pub(in crate::record) made: bool,
    /// Numbers that stand for objects in futex keys, counted down from the largest.
    numbers: HashMap<Identity, u32>,
    /// Shared mappings by address space, valid until a mapping changes.
    mappings: HashMap<u32, Vec<Mapping>>,
    /// Tasks that will change mappings when they go on.
    changing: BTreeSet<TaskId>,
    /// Why mappings could not be read.
    unread: Option<Error>,
}

/// A shared mapping of a part of an object.
#[derive(Debug)]
struct Mapping {
    range: Range<u64>,
    object: Identity,
    offset: u64,
}

impl FutexKeys {
    fn number(&mut self, object: Identity) -> u32 {
        let next = u32::MAX - self.numbers.len() as u32;
        *self.numbers.entry(object).or_insert(next)
    }

    /// Forgets all mappings, as one has changed.
    pub(in crate::record) fn forget(&mut self) {
        self.mappings.clear();
    }

    /// Reports that mappings could not be read since this was last asked: a wake may have missed its waiters.
    ///
    /// # Errors
    /// What kept them from being read.
    pub(in crate::record) fn check(&mut self) -> Result<(), Error> {
        self.unread.take().map_or(Ok(()), Err)
    }

    /// Takes in the mappings of an address space.
    fn learn(&mut self, space: u32, lines: Result<Vec<Line>, Error>) {
        let lines = lines.unwrap_or_else(|error| {
            // A task that is gone has none.
            if !matches!(error, Error::Gone { .. }) {
                self.unread = Some(error);
            }
            Vec::new()
        });
        let shared = lines.into_iter().filter(|line| line.shared);
        let mapping = |line: Line| Mapping {
            range: line.start..line.end,
            object: (line.dev, line.inode),
            offset: line.offset,
        };
        self.mappings.insert(space, shared.map(mapping).collect());
    }

    /// Returns the object and the offset there of an address in shared memory.
    fn place(&self, space: u32, address: u64) -> Option<(Identity, u64)> {
        let found = self.mappings.get(&space)?.iter().find(|mapping| mapping.range.contains(&address))?;
        Some((found.object, found.offset + (address - found.range.start)))
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
        if private || !self.keys.made {
            return FutexKey { space, address };
        }
        if !self.keys.changing.is_empty() {
            self.keys.forget();
        }
        if !self.keys.mappings.contains_key(&space) {
            self.keys.learn(space, tasks.mappings(space));
        }
        match self.keys.place(space, address) {
            Some((object, address)) => FutexKey { space: self.keys.number(object), address },
            None => FutexKey { space, address },
        }
    }
}

impl Tasks {
    fn mappings(&self, space: u32) -> Result<Vec<Line>, Error> {
        let living = self.living().find(|task| task.space.number == space);
        living.map_or(Ok(Vec::new()), |task| maps(task.tid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(start: u64, offset: u64, inode: u64, shared: bool) -> Line {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        Line { start, end: start + 0x1000, prot, shared, offset, dev: 1, inode, path: "f".into() }
    }

    #[test]
    fn two_processes_meet_at_the_same_place_of_an_object() {
        let mut keys = FutexKeys::default();
        keys.learn(0, Ok(vec![line(0x1000, 0x2000, 7, true), line(0x3000, 0, 8, false)]));
        keys.learn(1, Ok(vec![line(0x9000, 0x2000, 7, true)]));
        assert_eq!(keys.place(0, 0x1010), Some(((1, 7), 0x2010)));
        assert_eq!(keys.place(1, 0x9010), keys.place(0, 0x1010));
        assert_eq!(keys.place(0, 0x3010), None, "it is private");
        assert_eq!(keys.place(0, 0x2000), None, "it is just behind");
    }

    #[test]
    fn objects_have_numbers_that_no_address_space_has() {
        let mut keys = FutexKeys::default();
        let [one, other] = [(1, 7), (1, 8)].map(|object| keys.number(object));
        assert_eq!((one, other, keys.number((1, 7))), (u32::MAX, u32::MAX - 1, one));
    }

    #[test]
    fn mappings_are_read_again_once_a_task_has_changed_them() {
        let mut keys = FutexKeys::default();
        keys.learn(0, Ok(vec![line(0x1000, 0, 7, true)]));
        keys.has_changed(TaskId(1));
        assert!(keys.place(0, 0x1000).is_some(), "nobody has changed them");
        keys.changes(TaskId(1));
        keys.has_changed(TaskId(1));
        assert_eq!(keys.place(0, 0x1000), None);
    }

    #[test]
    fn mappings_that_cannot_be_read_are_an_error_unless_the_task_is_gone() {
        let mut keys = FutexKeys::default();
        keys.learn(0, Err(Error::Gone { what: "read".into() }));
        assert!(keys.check().is_ok());
        let source = std::io::Error::from_raw_os_error(libc::EMFILE);
        keys.learn(0, Err(Error::Os { what: "read".into(), source }));
        assert!(keys.check().is_err());
        assert!(keys.check().is_ok(), "it is reported once");
    }
}
