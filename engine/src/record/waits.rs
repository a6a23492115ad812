//! What a task waits for, and who could end that.
//!
//! The futex of a wait says little. The functions that lead to it say what it is part of; the memory behind it and the
//! descriptors of the other processes say who is needed. What is not certain is left out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::unistd::Pid;

use super::fds::links;
use super::recorder::Recorder;
use super::stuck::{call_in_progress, inode, polled};
use super::tasks::{Call, Hold, Task};
use crate::ending::{Awaited, Frame, Wait};
use crate::symbols::interesting;
use crate::task::TaskId;

/// What is built upon other means of waiting: whoever is in a function with such a name waits for this, whatever that one
/// calls.
const BUILT: &[(&str, Awaited)] = &[
    ("std::sync::mpsc::", Awaited::Channel),
    ("std::sync::mpmc::", Awaited::Channel),
    ("crossbeam_channel::", Awaited::Channel),
    ("tokio::runtime::", Awaited::Runtime),
    ("std::sync::barrier::", Awaited::Barrier),
    ("std::thread::scoped::", Awaited::Scope),
];

/// What waits by itself: the innermost one counts, since waiting for a condition variable ends with its mutex.
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

/// What a task with this stack waits for on a futex, as far as the names of functions tell.
fn by_name(frames: &[Frame]) -> Awaited {
    // What the program's own functions are called says nothing.
    let own = interesting(frames).and_then(|own| frames.iter().position(|frame| frame == own));
    let names = || frames[..own.unwrap_or(frames.len())].iter().filter_map(|frame| frame.function.as_deref());
    let has = |name: &str, kinds: &[(&str, Awaited)]| {
        kinds.iter().find(|(part, _)| name.contains(part)).map(|(_, kind)| *kind)
    };
    let built = BUILT.iter().find(|(part, _)| names().any(|name| name.contains(part))).map(|(_, kind)| *kind);
    built.or_else(|| names().find_map(|name| has(name, PLAIN))).unwrap_or(Awaited::Futex)
}

impl Recorder<'_> {
    /// What a task with this stack waits for; none if it does not wait.
    pub(super) fn wait_of(&self, task: &Task, frames: &[Frame]) -> Option<Wait> {
        let limited = self.deadlines.contains(task.id);
        let (on, futex, by) = match task.hold() {
            Hold::InKernel(running, call) => self.wait_in_kernel_of(task, running.tid(), call),
            Hold::Waiting(..) if self.watches.has(task.id) => {
                self.wait_for_descriptors_of(task, &self.watches.descriptors(task.id).collect::<Vec<_>>())
            }
            Hold::Waiting(..) | Hold::Parked(_) => match self.futexes.waiting(task.id) {
                Some(key) => self.wait_on_futex(task, key.address, frames),
                None => (Awaited::Time, None, Vec::new()),
            },
            Hold::Lent(_, to) => (Awaited::Child, None, vec![*to]),
            _ => return None,
        };
        Some(Wait { on, futex, by, gone: None, limited })
    }

    fn wait_on_futex(&self, task: &Task, address: u64, frames: &[Frame]) -> Found {
        // The kernel clears this word, and wakes who waits there, when the thread ends (set_tid_address(2)).
        let ending = self.tasks.of(task.pid).find(|other| other.clear_tid == address);
        if let Some(ending) = ending {
            return (Awaited::Thread, Some(address), vec![ending.id]);
        }
        let on = by_name(frames);
        let owner = match on {
            Awaited::Mutex | Awaited::Futex => self.owner(task, address),
            _ => None,
        };
        let on = if owner.is_some() { Awaited::Mutex } else { on };
        (on, Some(address), owner.into_iter().collect())
    }

    /// The owner of the `pthread_mutex_t` at an address, if there may be one: `__lock`, `__count` and `__owner` (glibc's
    /// `struct __pthread_mutex_s`), of which a waiter has set the first to 2.
    fn owner(&self, task: &Task, address: u64) -> Option<TaskId> {
        let memory = &task.space.memory;
        let [lock, owner] = [0, 8].map(|at| memory.u32(address.wrapping_add(at)).unwrap_or(0));
        let owner = self.tasks.with_tid(Pid::from_raw(owner.cast_signed()))?;
        (lock == 2 && owner.pid == task.pid && owner.id != task.id).then_some(owner.id)
    }

    fn wait_in_kernel_of(&self, task: &Task, tid: Pid, call: &Call) -> Found {
        if matches!(call.number() as i64, libc::SYS_wait4 | libc::SYS_waitid) {
            return (Awaited::Child, None, self.children(task.pid));
        }
        match call_in_progress(tid) {
            Some((libc::SYS_ppoll, args)) => {
                self.wait_for_descriptors_of(task, &polled(&task.space.memory, &args))
            }
            _ => (Awaited::Descriptors, None, Vec::new()),
        }
    }

    /// The first tasks of the processes that a process has started.
    fn children(&self, pid: Pid) -> Vec<TaskId> {
        let mut seen = BTreeSet::new();
        let others = self.tasks.living().filter(|other| other.pid != pid && seen.insert(other.pid));
        others.filter(|other| parent(other.pid) == Some(pid)).map(|other| other.id).collect()
    }

    fn wait_for_descriptors_of(&self, task: &Task, fds: &[i32]) -> Found {
        let [fd] = fds[..] else { return (Awaited::Descriptors, None, Vec::new()) };
        let link = link(task.tid, fd);
        if link.starts_with("pipe:") {
            let by = self.holders_of(task, &link, |mode| access(task.tid, fd).is_none_or(|own| own != mode));
            return (Awaited::Pipe, None, by);
        }
        if link.starts_with("socket:") {
            let peer = inode(&path(task.tid, fd)).and_then(|inode| self.pairs.get(&inode));
            let by = peer.map(|peer| self.holders_of(task, &format!("socket:[{peer}]"), |_| true));
            return (Awaited::Socket, None, by.unwrap_or_default());
        }
        (Awaited::Descriptors, None, Vec::new())
    }

    /// The tasks, besides this one, whose processes have a descriptor that `link` describes, opened for what `wanted` says.
    fn holders_of(&self, task: &Task, link_is: &str, wanted: impl Fn(u32) -> bool) -> Vec<TaskId> {
        let mut holding = std::collections::BTreeMap::new();
        let mut holds = |other: &Task| {
            *holding.entry(other.pid).or_insert_with(|| {
                links(other.tid)
                    .any(|(fd, link)| link == link_is && access(other.tid, fd).is_some_and(&wanted))
            })
        };
        self.tasks
            .living()
            .filter(|other| other.id != task.id && holds(other))
            .map(|other| other.id)
            .collect()
    }
}

/// What is waited for, its futex word, and who could end that.
type Found = (Awaited, Option<u64>, Vec<TaskId>);

fn path(tid: Pid, fd: i32) -> PathBuf {
    format!("/proc/{tid}/fd/{fd}").into()
}

/// What a descriptor stands for (proc_pid_fd(5)).
fn link(tid: Pid, fd: i32) -> String {
    std::fs::read_link(path(tid, fd)).map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a descriptor is open for: `O_RDONLY`, `O_WRONLY` or `O_RDWR` (proc_pid_fdinfo(5)).
fn access(tid: Pid, fd: i32) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    Some(u32::from_str_radix(flags.trim(), 8).ok()? & libc::O_ACCMODE.cast_unsigned())
}

/// Who has started a process (proc_pid_stat(5)).
fn parent(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything: state and parent follow the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
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

    #[test]
    fn descriptors_tell_what_they_are_open_for() {
        // SAFETY: gettid has no preconditions.
        let own = Pid::from_raw(unsafe { libc::gettid() });
        let (reader, writer) = std::io::pipe().unwrap();
        let [read, write] =
            [std::os::fd::AsRawFd::as_raw_fd(&reader), std::os::fd::AsRawFd::as_raw_fd(&writer)];
        assert_eq!(link(own, read), link(own, write));
        assert!(link(own, read).starts_with("pipe:["));
        assert_eq!(access(own, read), Some(libc::O_RDONLY.cast_unsigned()));
        assert_eq!(access(own, write), Some(libc::O_WRONLY.cast_unsigned()));
        let descriptors: Vec<i32> = links(own).map(|(fd, _)| fd).collect();
        assert!(descriptors.contains(&read) && descriptors.contains(&write));
        assert_eq!(access(own, 1 << 20), None);
    }

    #[test]
    fn a_process_has_a_parent() {
        assert_eq!(parent(Pid::this()), Some(Pid::parent()));
    }
}
