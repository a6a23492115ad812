//! Robust futexes: the kernel marks those that a task owns when it ends, and wakes a waiter (set_robust_list(2)).
//!
//! The recorder does this itself, just before the end: the waiters are in its own queues, and replay must see the same
//! words change although its tasks have other ids.

use nix::unistd::Pid;

use super::Futexes;
use crate::record::journal::Journal;
use crate::record::kernel::fds;
use crate::record::scheduler::Scheduler;
use crate::record::surprises::Surprises;
use crate::record::tree::call::{Call, signal_sent};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Write;

/// Longest list that is followed (linux/futex.h, `ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;

/// `sizeof(struct robust_list_head)`: first entry, offset of the futex in each entry, pending entry.
const HEAD: u64 = 24;

/// A futex that a task may own when it ends.
struct Held {
    address: u64,
    /// Whether it is a priority-inheritance futex (`FUTEX_LOCK_PI`), which has no plain waiters.
    inherits: bool,
    /// Whether the task was about to lock or unlock it.
    pending: bool,
}

impl Tasks {
    /// set_robust_list(2).
    pub(in crate::record) fn set_robust_list(&mut self, id: TaskId, list: u64, len: u64) -> i64 {
        if len != HEAD {
            return -i64::from(libc::EINVAL);
        }
        self.task(id).robust_list = list;
        0
    }

    /// get_robust_list(2).
    pub(in crate::record) fn get_robust_list(&self, id: TaskId, args: [u64; 6]) -> (i64, Vec<Write>) {
        let [tid, list, len, ..] = args;
        let task = if tid == 0 { Some(&self[id]) } else { self.with_tid(Pid::from_raw(tid as i32)) };
        let Some(value) = task.map(|task| task.robust_list) else {
            return (-i64::from(libc::ESRCH), Vec::new());
        };
        let mut writes = Vec::new();
        for (address, value) in [(len, HEAD), (list, value)] {
            let (result, written) = self.written(id, address, value.to_ne_bytes().to_vec());
            writes.extend(written);
            if result != 0 || address == 0 {
                return (-i64::from(libc::EFAULT), writes);
            }
        }
        (0, writes)
    }

    /// Returns the futexes in a robust list.
    fn held(&self, id: TaskId, list: u64) -> Vec<Held> {
        let space = self.space(id);
        let word = |address: u64| space.memory.u64(address).ok();
        let Ok([first, offset, pending]) = space.memory.words(list, HEAD) else { return Vec::new() };
        let held = |entry: u64, pending| Held {
            address: (entry & !1).wrapping_add(offset),
            inherits: entry & 1 != 0,
            pending,
        };
        let mut all = Vec::new();
        let mut entry = Some(first);
        while let Some(at) = entry.filter(|at| at & !1 != list)
            && all.len() < LIMIT
        {
            if at & !1 != pending & !1 {
                all.push(held(at, false));
            }
            entry = word(at & !1);
        }
        if pending & !1 != 0 {
            all.push(held(pending, true));
        }
        all
    }
}

impl Futexes {
    /// Does what the kernel does to the robust futexes of tasks that are about to end. Returns what the kernel would
    /// write.
    pub(in crate::record) fn robust_exit(
        &mut self,
        tasks: &mut Tasks,
        journal: &mut Journal,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        ids: &[TaskId],
    ) -> Vec<Write> {
        let mut writes = Vec::new();
        for &id in ids {
            let list = std::mem::take(&mut tasks.task(id).robust_list);
            if list != 0 {
                for held in tasks.held(id, list) {
                    writes.extend(self.owner_died(tasks, scheduler, surprises, id, &held));
                }
            }
            self.pi(tasks, journal, scheduler, surprises, id, &mut writes);
        }
        writes
    }

    /// Does what the kernel does to the robust futexes of processes that a call is about to kill (SIGKILL). This
    /// happens before the call, as their memory is gone afterwards. Returns what the kernel would write as they end.
    pub(in crate::record) fn before_kill(
        &mut self,
        tasks: &mut Tasks,
        journal: &mut Journal,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        id: TaskId,
        call: &Call,
    ) -> Vec<(TaskId, Vec<Write>)> {
        if signal_sent(call) != Some(libc::SIGKILL) || !tasks.living().any(|t| t.robust_list != 0) {
            return Vec::new();
        }
        let [target, ..] = call.args();
        let target = match call.number() as i64 {
            libc::SYS_pidfd_send_signal => fds::pidfd(tasks.task(id).tid, target),
            _ => target as i32,
        };
        let (me, root) = (tasks.task(id).pid, tasks.root());
        let group = |pid| nix::unistd::getpgid(Some(pid)).map_or(0, nix::unistd::Pid::as_raw);
        let mut dying: Vec<TaskId> = Vec::new();
        for task in tasks.living().filter(|t| t.pid != root) {
            let dies = match target {
                0 => group(task.pid) == group(me),
                -1 => task.pid != me,
                ..-1 => group(task.pid) == -target,
                1.. => task.pid.as_raw() == target || task.tid.as_raw() == target,
            };
            if dies {
                dying.push(task.id);
            }
        }
        let each = dying
            .into_iter()
            .map(|task| (task, self.robust_exit(tasks, journal, scheduler, surprises, &[task])));
        each.collect()
    }

    /// Marks a futex whose owner dies, or which the dying task was about to own.
    fn owner_died(
        &mut self,
        tasks: &mut Tasks,
        scheduler: &mut Scheduler,
        surprises: &Surprises,
        id: TaskId,
        held: &Held,
    ) -> Option<Write> {
        let (tid, memory) = (tasks.task(id).tid.as_raw() as u32, tasks.space(id));
        let word = memory.memory.u32(held.address).ok()?;
        let mut write = None;
        let mut wakes = held.pending && !held.inherits && word == 0;
        if word & libc::FUTEX_TID_MASK == tid {
            let new = word & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED;
            write = tasks.written(id, held.address, new.to_ne_bytes().to_vec()).1.pop();
            wakes = !held.inherits && word & libc::FUTEX_WAITERS != 0;
        }
        if wakes {
            // The kernel does not know whether the futex is private, and tries both.
            for private in [false, true] {
                let key = self.futex_key(tasks, id, held.address, private);
                if self.wake(tasks, scheduler, surprises, key, 1, u32::MAX) != 0 {
                    break;
                }
            }
        }
        write
    }
}
