//! A kill-on-drop guard for what is left of a driven program.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tracee::ptrace::{Resume, Wait, Waited, wait_any};

thread_local! {
    /// Number of programs that the thread drives.
    static LEASHES: Cell<u32> = const { Cell::new(0) };
}

/// Kills all processes of a driven program when it is dropped, and waits until they are gone. The last one of a thread
/// leaves no task of the thread at all.
#[derive(Debug)]
pub struct Leash {
    pids: RefCell<BTreeSet<Pid>>,
}

impl Leash {
    /// Creates the guard of a new program, which so far consists of this process.
    #[must_use]
    pub fn new(pid: Pid) -> Self {
        LEASHES.set(LEASHES.get() + 1);
        Self { pids: RefCell::new(BTreeSet::from([pid])) }
    }

    /// Adds a new task of the program.
    pub fn add(&self, pid: Pid) {
        self.pids.borrow_mut().insert(pid);
    }

    /// Kills the program's processes without waiting until they are gone. A caller with many programs lets them end at
    /// the same time this way, as each has to wait for a processor.
    pub fn kill(&self) {
        // The id of a reaped task may be somebody else's by now.
        for pid in self.pids.borrow().iter().filter(|pid| has_child(Some(**pid))) {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// Removes a task that has been reaped.
    pub fn remove(&self, pid: Pid) {
        self.pids.borrow_mut().remove(&pid);
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        LEASHES.set(LEASHES.get() - 1);
        let last = LEASHES.get() == 0;
        self.kill();
        let mut pids = self.pids.take();
        pids.retain(|pid| has_child(Some(*pid)));
        while !pids.is_empty() || last && has_child(None) {
            match wait_any() {
                Ok(Waited::Done((pid, Wait::Dead(_)))) => pids.retain(|known| *known != pid),
                Ok(Waited::Done((tid, Wait::Stopped(stopped, _)))) => {
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
pub fn bury(pid: Pid) {
    // SAFETY: a null status is allowed. Without __WNOTHREAD: the kernel gives orphans to any thread of this process.
    unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
}

/// Whether the calling thread has this child or traced task, or any, to wait for.
fn has_child(pid: Option<Pid>) -> bool {
    let (kind, id) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid.as_raw().cast_unsigned()));
    // SAFETY: an all-zero siginfo is a valid place for the result; WNOWAIT leaves everything as it is.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags =
            libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        libc::waitid(kind, id, &raw mut info, flags)
    };
    result == 0
}
