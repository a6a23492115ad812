//! A kill-on-drop guard for what is left of a driven program.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tracee::ptrace::{Resume, WaitStatus, Waited, wait_any, wait_in_group};

thread_local! {
    /// Number of programs that the thread drives.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// Kills all processes of a driven program when it is dropped, and waits until they are gone. The last one of a thread
/// leaves no task of the thread at all.
#[derive(Debug)]
pub struct KillOnDrop {
    pids: RefCell<BTreeSet<Pid>>,
    /// The process group, if all its processes are in one, and nobody else's.
    group: Option<Pid>,
}

impl KillOnDrop {
    /// Creates the guard of a new program, which so far consists of this process.
    #[must_use]
    pub fn new(pid: Pid) -> Self {
        GUARDS.set(GUARDS.get() + 1);
        Self { pids: RefCell::new(BTreeSet::from([pid])), group: None }
    }

    /// That of a new program, which so far is this process, and whose processes all stay in its process group.
    #[must_use]
    pub fn of_group(pid: Pid) -> Self {
        let mut kill_on_drop = Self::new(pid);
        kill_on_drop.group = Some(pid);
        kill_on_drop
    }

    /// The process group that all its processes are in, if there is one.
    #[must_use]
    pub fn group(&self) -> Option<Pid> {
        self.group
    }

    /// Adds a new task of the program.
    pub fn add(&self, pid: Pid) {
        self.pids.borrow_mut().insert(pid);
    }

    /// Kills the program's processes without waiting until they are gone. A caller with many programs lets them end at
    /// the same time this way, as each has to wait for a processor.
    pub fn kill(&self) {
        // The id of what has been waited for to its end may be somebody else's by now.
        for pid in self.pids.borrow().iter().filter(|pid| has_child(libc::P_PID, **pid)) {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// Removes a task that has been reaped.
    pub fn remove(&self, pid: Pid) {
        self.pids.borrow_mut().remove(&pid);
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        GUARDS.set(GUARDS.get() - 1);
        let last = GUARDS.get() == 0;
        self.kill();
        let mut pids = self.pids.take();
        pids.retain(|pid| has_child(libc::P_PID, *pid));
        let is_anybody_left = || match self.group {
            Some(group) => has_child(libc::P_PGID, group),
            None => last && has_child(libc::P_ALL, Pid::from_raw(0)),
        };
        while is_anybody_left() || self.group.is_none() && !pids.is_empty() {
            match self.group.map_or_else(wait_any, wait_in_group) {
                Ok(Waited::Done((pid, WaitStatus::Dead(_)))) => pids.retain(|known| *known != pid),
                Ok(Waited::Done((tid, WaitStatus::Stopped(stopped, _)))) => {
                    // A task that was just being created, and was not known yet.
                    let _ = kill(tid, Signal::SIGKILL);
                    let _ = stopped.resume(Resume::Freely, 0);
                }
                Ok(Waited::NotYet) => {}
                Err(_) => break,
            }
        }
    }
}

/// Reaps a dead process that has become a child of this process, as its parent has ended (this process may be the init
/// process of a container). Children of other processes are left alone.
pub fn reap_orphan(pid: Pid) {
    // SAFETY: a null status is allowed. Without __WNOTHREAD: the kernel gives orphans to any thread of this process.
    unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
}

/// Whether the calling thread has such a child or traced task to be waited for (waitid(2)).
fn has_child(kind: libc::idtype_t, id: Pid) -> bool {
    let id = id.as_raw().cast_unsigned();
    // SAFETY: an all-zero siginfo is a valid place for the result; WNOWAIT leaves everything as it is.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags =
            libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        libc::waitid(kind, id, &raw mut info, flags)
    };
    result == 0
}
