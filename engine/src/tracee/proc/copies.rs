//! Copies of a traced process's descriptors: what they are of can be asked and waited for without the process.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};
use nix::unistd::Pid;

/// Copies descriptors of traced processes (pidfd_getfd(2)). Where that is not allowed (containers forbid it at times) there
/// are none, and the process must be asked itself.
#[derive(Debug, Default)]
pub struct Copies {
    /// Those that have been asked before; none for those that may not be.
    processes: HashMap<Pid, Option<OwnedFd>>,
}

impl Copies {
    /// A copy of descriptor `fd` of a process: of its first thread, to be exact.
    pub fn of(&mut self, pid: Pid, fd: c_int) -> Option<OwnedFd> {
        let process = self
            .processes
            .entry(pid)
            .or_insert_with(|| made(libc::SYS_pidfd_open, [pid.as_raw(), 0, 0]))
            .as_ref()?;
        let copy = made(libc::SYS_pidfd_getfd, [process.as_raw_fd(), fd, 0]);
        if copy.is_none() && !matches!(nix::errno::Errno::last(), nix::errno::Errno::EBADF) {
            self.processes.insert(pid, None);
        }
        copy
    }

    /// Copy nothing of this process any more: its tasks do not have the same descriptors.
    pub fn refuse(&mut self, pid: Pid) {
        self.processes.insert(pid, None);
    }

    /// A process is no more.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }
}

/// The descriptor that a call makes.
fn made(call: c_long, args: [c_int; 3]) -> Option<OwnedFd> {
    // SAFETY: neither pidfd_open(2) nor pidfd_getfd(2) takes a pointer; what they return is a new descriptor.
    unsafe {
        let fd = libc::syscall(call, args[0], args[1], args[2]);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as c_int))
    }
}
