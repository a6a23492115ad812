//! Killing what is left of a driven program.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tracee::ptrace::{Resume, Wait, Waited, wait_any};

thread_local! {
    /// How many programs the thread drives.
    static LEASHES: Cell<u32> = const { Cell::new(0) };
}

/// Kills all processes of a driven program, and waits until they are gone, when it is dropped. The last one of a thread
/// leaves no task of the thread at all.
#[derive(Debug)]
pub struct Leash {
    pids: RefCell<BTreeSet<Pid>>,
}

impl Leash {
    /// That of a new program, which so far is this process.
    #[must_use]
    pub fn new(pid: Pid) -> Self {
        LEASHES.set(LEASHES.get() + 1);
        Self { pids: RefCell::new(BTreeSet::from([pid])) }
    }

    /// A new task of the program.
    pub fn add(&self, pid: Pid) {
        self.pids.borrow_mut().insert(pid);
    }

    /// Kill the program's processes without waiting until they are gone. Who has many programs to end has them end at the same
    /// time so, where each would have to wait for a processor.
    pub fn kill(&self) {
        // The id of what has been waited for to its end may be somebody else's by now.
        for pid in self.pids.borrow().iter().filter(|pid| has_child(Some(**pid))) {
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// A task has been waited for to its end.
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
                    // One that was just being born: it was not known yet.
                    let _ = kill(tid, Signal::SIGKILL);
                    let _ = stopped.resume(Resume::Freely, 0);
                }
                Ok(Waited::NotYet) => {}
                Err(_) => break,
            }
        }
    }
}

/// Take away what is left of a dead process that has become a child of ours, as its parent has ended (we may be the init
/// process of a container). Anybody else's is left alone.
pub fn bury(pid: Pid) {
    // SAFETY: a null status is allowed. Without __WNOTHREAD: the kernel gives orphans to any thread of ours.
    unsafe { libc::waitpid(pid.as_raw(), std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
}

/// Whether the calling thread has this child or traced task, or any, to be waited for.
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
