//! What a task waits for, and who could end the wait.
//!
//! The futex itself says little. The functions on the stack say what it is part of; the memory behind it and the
//! descriptors of other processes say who must act. Whatever is not certain is left out.

use nix::unistd::Pid;

use super::report::Observer;
use crate::ending::{Awaited, Frame, Wait};
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::symbols::origin::interesting;
use crate::task::TaskId;

/// Functions that are built on other primitives: a task in a function with such a name waits for this, whatever that
/// function calls.
const BUILT: &[(&str, Awaited)] = &[
    ("std::sync::mpsc::", Awaited::Channel),
    ("std::sync::mpmc::", Awaited::Channel),
    ("crossbeam_channel::", Awaited::Channel),
    ("tokio::runtime::", Awaited::Runtime),
    ("std::sync::barrier::", Awaited::Barrier),
    ("std::thread::scoped::", Awaited::Scope),
];

/// Functions that wait by themselves. The innermost counts: a wait for a condition variable ends by locking its mutex.
const PLAIN: &[(&str, Awaited)] = &[
    ("::mutex::", Awaited::Mutex),
    ("::raw_mutex::", Awaited::Mutex),
    ("pthread_mutex_", Awaited::Mutex),
    ("::rwlock::", Awaited::RwLock),
    ("::raw_rwlock::", Awaited::RwLock),
    ("pthread_rwlock_", Awaited::RwLock),
    ("::condvar::", Awaited::Condvar),
    ("pthread_cond_", Awaited::Condvar),
    ("::once::", Awaited::Once),
    ("::thread_parking::", Awaited::Unpark),
];

/// Returns what a task with this stack waits for on a futex, judging by function names.
fn by_name(frames: &[Frame]) -> Awaited {
    // The names of the program's own functions say nothing.
    let own = interesting(frames).and_then(|own| frames.iter().position(|frame| frame == own));
    let names = || frames[..own.unwrap_or(frames.len())].iter().filter_map(|frame| frame.function.as_deref());
    let has = |name: &str, kinds: &[(&str, Awaited)]| {
        kinds.iter().find(|(part, _)| name.contains(part)).map(|(_, kind)| *kind)
    };
    let built = BUILT.iter().find(|(part, _)| names().any(|name| name.contains(part))).map(|(_, kind)| *kind);
    built.or_else(|| names().find_map(|name| has(name, PLAIN))).unwrap_or(Awaited::Futex)
}

impl Observer<'_> {
    /// Returns what a task with this stack waits for; `None` if it does not wait.
    pub(in crate::record) fn wait_of(&self, task: &Task, frames: &[Frame]) -> Option<Wait> {
        let limited = self.tasks.deadlines.contains(task.id);
        let found = match task.hold() {
            Hold::InKernel(running, call) => self.wait_in_kernel_of(task, running.tid(), call),
            Hold::Waiting(_, call) if self.poller.has(task.id) => self.wait_for_descriptors_of(
                task,
                call,
                &self.poller.descriptors(task.id).collect::<Vec<_>>(),
            ),
            Hold::Waiting(..) | Hold::Parked(_) => match self.futexes.table.waiting(task.id) {
                Some(key) => self.tasks.wait_on_futex(task, key.address, frames),
                None => Blocked::new(Awaited::Time),
            },
            Hold::Lent(_, to) => Blocked { by: vec![*to], ..Blocked::new(Awaited::Child) },
            _ => return None,
        };
        let Blocked { on, futex, what, by } = found;
        Some(Wait { on, futex, what, by, gone: None, limited })
    }
}

impl Tasks {
    fn wait_on_futex(&self, task: &Task, address: u64, frames: &[Frame]) -> Blocked {
        // The word that the kernel clears and wakes when a thread ends (set_tid_address(2)).
        let ending = self.of(task.pid).find(|other| other.clear_tid == address);
        if let Some(ending) = ending {
            let by = vec![ending.id];
            return Blocked { futex: Some(address), by, ..Blocked::new(Awaited::Thread) };
        }
        let on = by_name(frames);
        let owner = match on {
            Awaited::Mutex | Awaited::Futex => self.owner(task, address),
            _ => None,
        };
        let on = if owner.is_some() { Awaited::Mutex } else { on };
        Blocked { futex: Some(address), by: owner.into_iter().collect(), ..Blocked::new(on) }
    }

    /// Returns the owner of the `pthread_mutex_t` at an address, if there seems to be one. The struct begins with
    /// `__lock`, `__count` and `__owner` (glibc's `struct __pthread_mutex_s`); a waiter has set `__lock` to 2.
    fn owner(&self, task: &Task, address: u64) -> Option<TaskId> {
        let memory = &task.space.memory;
        let [lock, owner] = [0, 8].map(|at| memory.u32(address.wrapping_add(at)).unwrap_or(0));
        let owner = self.with_tid(Pid::from_raw(owner.cast_signed()))?;
        (lock == 2 && owner.pid == task.pid && owner.id != task.id).then_some(owner.id)
    }
}

/// What a task waits for, and who could end the wait.
#[derive(Debug)]
pub(in crate::record) struct Blocked {
    pub(in crate::record) on: Awaited,
    /// Address of the futex word.
    pub(in crate::record) futex: Option<u64>,
    pub(in crate::record) what: Option<String>,
    pub(in crate::record) by: Vec<TaskId>,
}

impl Blocked {
    /// Creates the description of a wait of which only the kind is known.
    pub(in crate::record) fn new(on: Awaited) -> Self {
        Self { on, futex: None, what: None, by: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &[&str]) -> Vec<Frame> {
        let frame = |name: &&str| Frame {
            address: 0,
            function: Some((*name).to_owned()),
            location: Some((
                if name.starts_with("own") { "/p/src/lib.rs" } else { "/rustc/0/x.rs" }.to_owned(),
                7,
            )),
        };
        names.iter().map(frame).collect()
    }

    #[test]
    fn functions_tell_what_is_waited_for() {
        let of = |names: &[&str]| by_name(&stack(names));
        let lock = [
            "<std::sys::sync::mutex::futex::Mutex>::lock_contended",
            "std::sync::poison::mutex::Mutex<T>::lock",
        ];
        let wait =
            ["<std::sys::sync::condvar::futex::Condvar>::wait", "std::sync::poison::condvar::Condvar::wait"];
        assert_eq!(of(&lock), Awaited::Mutex);
        assert_eq!(of(&wait), Awaited::Condvar);
        assert_eq!(of(&[lock[0], wait[0], wait[1]]), Awaited::Mutex, "its mutex, once notified");
        assert_eq!(of(&[wait[0], "std::sync::barrier::Barrier::wait"]), Awaited::Barrier);
        let park = "<std::sys::sync::thread_parking::futex::Parker>::park";
        assert_eq!(of(&[park, "<std::sync::mpmc::list::Channel<()>>::recv"]), Awaited::Channel);
        assert_eq!(of(&[park, "own::f"]), Awaited::Unpark);
        assert_eq!(of(&["syscall", "own::rwlock::f"]), Awaited::Futex, "one's own functions do not count");
        assert_eq!(of(&[]), Awaited::Futex);
    }
}
