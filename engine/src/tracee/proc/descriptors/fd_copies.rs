//! Copies of a traced process's descriptors, which can be inspected and polled without the process.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};
use nix::unistd::Pid;

/// Copies descriptors of traced processes (pidfd_getfd(2)). Where this is not allowed (in some containers) there are no
/// copies, and the process itself must make the calls.
#[derive(Debug, Default)]
pub struct FdCopies {
    /// A pidfd for each process seen so far; `None` if its descriptors may not be copied.
    processes: HashMap<Pid, Option<OwnedFd>>,
}

impl FdCopies {
    /// Copies descriptor `fd` of a process, more precisely of its first thread.
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

    /// Stops copying descriptors of a process, as its tasks no longer share them.
    pub fn refuse(&mut self, pid: Pid) {
        self.processes.insert(pid, None);
    }

    /// Forgets a process that has ended.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }
}

/// Makes a call that returns a new descriptor.
fn made(call: c_long, args: [c_int; 3]) -> Option<OwnedFd> {
    // SAFETY: neither pidfd_open(2) nor pidfd_getfd(2) takes a pointer; what they return is a new descriptor.
    unsafe {
        let fd = libc::syscall(call, args[0], args[1], args[2]);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as c_int))
    }
}
