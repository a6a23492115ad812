//! Several injected system calls in a single stop.

use std::fs::File;
use std::os::fd::AsRawFd;

use super::remote::finish;
use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::area::list::{ARGS, CALL, COPIES, PATH};
use crate::tracee::area::shared::SCRATCH_LEN;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Stopped;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A value.
    Value(u64),
    /// The result of the call with this number. At most two arguments can use the same result.
    ResultOf(usize),
    /// The address of a path under which the process can open a file of ours. In replay it is for memory files only, as
    /// whatever runs there can open them too.
    PathOf(&'a File),
}

/// Calls that are made one after the other, even if earlier ones fail.
#[derive(Debug, Default)]
pub struct Batch {
    calls: Vec<[u8; CALL]>,
    paths: Vec<[u8; PATH]>,
}

impl Batch {
    /// Returns for how many more calls there is room.
    #[must_use]
    pub fn room(&self) -> usize {
        let paths = Area::PATHS_MOST - self.paths.len();
        (SCRATCH_LEN / CALL - self.calls.len()).min(paths)
    }

    /// Adds a call. Returns its number in the batch.
    ///
    /// # Panics
    /// If there is no room left.
    pub fn push(&mut self, number: i64, args: [Arg<'_>; 6]) -> usize {
        let this = self.calls.len();
        assert!(self.room() > 0, "the batch is full");
        self.calls.push([0; CALL]);
        self.set(this, 0, number.cast_unsigned());
        for (at, arg) in (ARGS..).zip(args) {
            match arg {
                Arg::Value(value) => self.set(this, at, value),
                Arg::ResultOf(other) => self.copy_result(other, Self::address(this, at)),
                Arg::PathOf(file) => {
                    self.set(this, at, Area::PATHS + (self.paths.len() * PATH) as u64);
                    self.paths.push(path_of(file));
                }
            }
        }
        for copy in COPIES {
            self.set(this, copy, Self::address(this, 0));
        }
        this
    }

    /// Has the calls made, and returns their results. The task must stand as for [`remote`](super::remote::remote()),
    /// and stands like that afterwards.
    ///
    /// # Errors
    /// If the task dies; calls that fail are ordinary results (`-errno`).
    pub fn run(&self, task: Stopped, memory: &Memory, area: &Area) -> Result<(Stopped, Vec<i64>), Error> {
        if self.calls.is_empty() {
            return Ok((task, Vec::new()));
        }
        memory.write(Area::LIST, self.calls.as_flattened())?;
        area.set_paths(&self.paths);
        let mut registers = task.registers()?;
        registers.set_ip(Area::BATCH);
        registers.set_general(12, Area::LIST);
        registers.set_general(13, self.calls.len() as u64);
        registers.set_number(u64::MAX);
        task.set_registers(&registers)?;
        let (task, _) = finish(task, |_| false, || "make system calls".into())?;
        // Nothing is left that anybody else could open.
        area.set_paths(&vec![[0; PATH]; self.paths.len()]);
        let done = memory.bytes(Area::LIST, self.calls.len() * CALL)?;
        let result = |call: &[u8]| call.first_chunk().map_or(0, |word| i64::from_ne_bytes(*word));
        Ok((task, done.chunks_exact(CALL).map(result).collect()))
    }

    fn copy_result(&mut self, of: usize, to: u64) {
        let own = Self::address(of, 0).to_ne_bytes();
        let free = COPIES.into_iter().find(|copy| self.calls[of][copy * 8..][..8] == own);
        self.set(of, free.expect("a result goes to two at most"), to);
    }

    fn set(&mut self, call: usize, word: usize, value: u64) {
        self.calls[call][word * 8..][..8].copy_from_slice(&value.to_ne_bytes());
    }

    /// Returns the address of a word of a call in the driven process.
    fn address(call: usize, word: usize) -> u64 {
        Area::LIST + (call * CALL + word * 8) as u64
    }
}

/// Returns the path under which a process without descriptors of ours can open a file of ours. A NUL byte ends it.
fn path_of(file: &File) -> [u8; PATH] {
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let mut bytes = [0; PATH];
    // The numbers have ten digits at most.
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes
}

// The longest path of all, and a NUL byte.
const _: () = assert!("/proc//fd/".len() + 2 * 10 < PATH);
