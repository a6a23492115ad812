//! Killing what is left of a driven program.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tracee::{Resume, Wait, Waited, wait_any};

/// Kills a driven process, and waits until all tasks of the calling thread are gone, when it is dropped.
#[derive(Debug)]
pub struct Leash {
    pid: Pid,
}

impl Leash {
    pub(super) fn new(pid: Pid) -> Self {
        Self { pid }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        // If the process has been waited for to its end, there is nothing to kill: its id is free, but cannot have been
        // given to another child of ours in the meantime.
        if wait_any_now_is_empty() {
            return;
        }
        let _ = kill(self.pid, Signal::SIGKILL);
        while let Ok(waited) = wait_any() {
            if let Waited::Done((_, Wait::Stopped(stopped, _))) = waited {
                let _ = stopped.resume(Resume::Freely, 0);
            }
        }
    }
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
