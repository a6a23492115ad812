//! The cores that tasks are told they may use (sched_setaffinity(2)). In truth all tasks share the recorder's core.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::call::fails;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::record::options::Options;
use crate::task::TaskId;
use crate::trace::event::Write;

/// Bytes of the kernel's set of cores, of which there are at most 64.
const SET: u64 = 8;

impl Options<'_> {
    /// Returns the set of cores that a program sees by default.
    pub(in crate::record) fn all_cores(&self) -> u64 {
        cores(self.pretend_cores)
    }
}

/// Returns a set of so many cores.
fn cores(count: usize) -> u64 {
    u64::MAX >> (64 - count.clamp(1, 64))
}

impl Tasks {
    /// Tells the program that there are so many cores, all of which its tasks may use.
    pub(in crate::record) fn set_all_cores(&mut self, count: u64) {
        let set = cores(count as usize);
        self.cores = Some(set);
        let living: Vec<_> = self.living().map(|task| task.id).collect();
        for id in living {
            self.task(id).affinity = set;
        }
    }

    fn all_cores(&self, options: &Options<'_>) -> u64 {
        self.cores.unwrap_or(options.all_cores())
    }

    /// Returns the core on which a task is told it runs.
    pub(in crate::record) fn core_of(&mut self, id: TaskId) -> u32 {
        self.task(id).affinity.trailing_zeros()
    }

    pub(in crate::record) fn get_affinity(
        &mut self,
        options: &Options<'_>,
        id: TaskId,
        [tid, len, address, ..]: [u64; 6],
    ) -> (i64, Vec<Write>) {
        if len < SET || !len.is_multiple_of(SET) {
            return (fails(libc::EINVAL), Vec::new());
        }
        let set = match self.whose_cores(id, tid) {
            Ok(whose) => whose.map_or(self.all_cores(options), |whose| self.task(whose).affinity),
            Err(errno) => return (fails(errno), Vec::new()),
        };
        let (result, writes) = self.written(id, address, set.to_ne_bytes().to_vec());
        (if result == 0 { SET as i64 } else { result }, writes)
    }

    pub(in crate::record) fn set_affinity(
        &mut self,
        options: &Options<'_>,
        clock: &Clock,
        id: TaskId,
        [tid, len, address, ..]: [u64; 6],
    ) -> i64 {
        let Ok(bytes) = self.space(id).memory.bytes(address, len.min(SET) as usize) else {
            return fails(libc::EFAULT);
        };
        let asked = bytes.iter().rev().fold(0, |set, byte| set << 8 | u64::from(*byte));
        match (self.whose_cores(id, tid), asked & self.all_cores(options)) {
            (Err(errno), _) => fails(errno),
            (Ok(None), _) => fails(libc::EPERM),
            (Ok(Some(_)), 0) => fails(libc::EINVAL),
            (Ok(Some(whose)), set) => {
                self.task(whose).affinity = set;
                if let Some(slot) = self[whose].slot() {
                    clock.area().set_affinity(slot, set);
                }
                0
            }
        }
    }

    /// Returns the task with this thread id, 0 for the caller; `None` if it is not recorded.
    fn whose_cores(&self, caller: TaskId, tid: u64) -> Result<Option<TaskId>, i32> {
        let tid = Pid::from_raw(tid as i32);
        if tid.as_raw() == 0 {
            return Ok(Some(caller));
        }
        let known = self.with_tid(tid);
        match known {
            Some(task) => Ok(Some(task.id)),
            None if tid.as_raw() < 0 || kill(tid, None) == Err(Errno::ESRCH) => Err(libc::ESRCH),
            None => Ok(None),
        }
    }
}
