//! Killing what is left of a driven program.

use std::cell::RefCell;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tracee::{Resume, Wait, Waited, wait_any};

/// Kills all processes of a driven program, and waits until all tasks of the calling thread are gone, when it is dropped.
#[derive(Debug)]
pub struct Leash {
    pids: RefCell<Vec<Pid>>,
}

impl Leash {
    pub(super) fn new(pid: Pid) -> Self {
        Self { pids: RefCell::new(vec![pid]) }
    }

    /// A new process of the program.
    pub fn add(&self, pid: Pid) {
        self.pids.borrow_mut().push(pid);
    }

    /// A process has been waited for to its end.
    pub fn remove(&self, pid: Pid) {
        self.pids.borrow_mut().retain(|known| *known != pid);
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // What has been waited for to its end is no longer ours: its id is free, but cannot have been given to another
        // task of ours in the meantime.
        if wait_any_now_is_empty() {
            return;
        }
        for pid in self.pids.take() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        while let Ok(waited) = wait_any() {
            if let Waited::Done((tid, Wait::Stopped(stopped, _))) = waited {
                // One that was just being born: it was not known yet.
                let _ = kill(tid, Signal::SIGKILL);
                let _ = stopped.resume(Resume::Freely, 0);
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

/// Whether the calling thread has no child or traced task left.
fn wait_any_now_is_empty() -> bool {
    // SAFETY: an all-zero siginfo is a valid place for the result; WNOWAIT leaves everything as it is.
    let result = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags =
            libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
        libc::waitid(libc::P_ALL, 0, &raw mut info, flags)
    };
    result == -1
}
