//! Mapping memory in a replayed process: many mappings in a single stop.

use std::fs::File;

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::tracee::Arg::{PathOf, ResultOf, Value};
use crate::tracee::{Area, Arg, Batch, Memory, Stopped, TASK_SIZE, os};

/// Where memory is to be mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) len: u64,
    /// `PROT_*` of mmap(2).
    pub(super) prot: u64,
}

/// Mappings that are asked for.
#[derive(Debug, Default)]
pub(super) struct Mapper {
    batch: Batch,
    /// Each with the numbers of the calls that it takes: the last one is mmap(2).
    places: Vec<(Place, Vec<usize>)>,
}

impl Mapper {
    /// The calls that a mapping takes at most.
    const CALLS: usize = 3;

    /// Map anonymous memory.
    pub(super) fn anonymous(&mut self, place: Place, flags: i32) -> Result<(), Error> {
        let map = self.map(place, flags | libc::MAP_ANONYMOUS, Value(u64::MAX), 0)?;
        self.places.push((place, vec![map]));
        Ok(())
    }

    /// Map a memory file of ours from an offset on; `stored` says whether stores are to go into it, now or later.
    pub(super) fn file(
        &mut self,
        place: Place,
        flags: i32,
        file: &File,
        offset: u64,
        stored: bool,
    ) -> Result<(), Error> {
        // A mapping of a file that is open for reading only cannot be made writable.
        let access = if stored { libc::O_RDWR } else { libc::O_RDONLY };
        let none = Value(0);
        // By its path, since the process has no descriptors, and the file is younger than the process may be.
        let open =
            self.batch.push(libc::SYS_open, [PathOf(file), Value(access as u64), none, none, none, none]);
        let map = self.map(place, flags, ResultOf(open), offset)?;
        self.batch.push(libc::SYS_close, [ResultOf(open), none, none, none, none, none]);
        self.places.push((place, vec![open, map]));
        Ok(())
    }

    /// Whether it must be [`run`](Self::run) before it can be asked for more.
    pub(super) fn is_full(&self) -> bool {
        self.batch.room() < Self::CALLS
    }

    /// Map all that was asked for since it was last run. The task stands as for [`crate::tracee::remote`].
    pub(super) fn run(&mut self, task: Stopped, memory: &Memory, area: &Area) -> Result<Stopped, Error> {
        let Self { batch, places, .. } = std::mem::take(self);
        let (task, results) = batch.run(task, memory, area)?;
        for (place, calls) in places {
            let mut results = calls.iter().filter_map(|call| results.get(*call).copied());
            let last = results.clone().find(|result| *result < 0).or(results.next_back());
            if last != Some(place.address.cast_signed()) {
                return Err(place.refused(errno(last.unwrap_or_default())));
            }
        }
        Ok(task)
    }

    fn map(&mut self, place: Place, flags: i32, fd: Arg<'_>, offset: u64) -> Result<usize, Error> {
        let Place { address, len, prot } = place;
        let end = address.checked_add(len).filter(|end| *end <= TASK_SIZE);
        let apart = end.is_some_and(|end| end <= AREA as u64 || address >= (AREA + AREA_LEN) as u64);
        if !apart {
            return Err(place.refused(std::io::Error::other("no program has memory there")));
        }
        let flags = (flags | libc::MAP_FIXED) as u64;
        let [address, len, prot, flags, offset] = [address, len, prot, flags, offset].map(Value);
        Ok(self.batch.push(libc::SYS_mmap, [address, len, prot, flags, fd, offset]))
    }
}

impl Place {
    fn refused(self, source: std::io::Error) -> Error {
        os(format!("map {} bytes at {:#x} in the replay", self.len, self.address))(source)
    }
}

fn errno(result: i64) -> std::io::Error {
    std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL))
}
