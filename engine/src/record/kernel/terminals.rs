//! The two sides of a pseudo-terminal (pty(7)). The slave is named `/dev/pts/N`; the master's number is in
//! `/proc/PID/fdinfo` (`tty-index`, drivers/tty/pty.c).

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SpecialCharacterIndices, tcgetattr};
use nix::unistd::Pid;

use crate::tracee::{Fd, FdCopies, named_fds};

/// One side, with the number of the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::record) enum Side {
    Master(u32),
    Slave(u32),
}

impl Side {
    /// Returns the side to which a descriptor with this link in `/proc/PID/fd` refers.
    pub(in crate::record) fn of(pid: Pid, fd: i32, link: &str) -> Option<Self> {
        if link.ends_with("/ptmx") {
            return Fd::of(pid, fd).info().ok()?.terminal().map(Self::Master);
        }
        link.strip_prefix("/dev/pts/")?.parse().ok().map(Self::Slave)
    }

    /// Whether `other` is the opposite side of the same terminal.
    pub(in crate::record) fn faces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Master(one), Self::Slave(other)) | (Self::Slave(one), Self::Master(other)) => one == other,
            _ => false,
        }
    }

    /// Returns a descriptor by which a process has the opposite side.
    pub(in crate::record) fn other(&self, pid: Pid) -> Option<(Pid, i32)> {
        let faces = |fd: Fd, link: &str| Self::of(pid, fd.number, link).is_some_and(|side| self.faces(&side));
        named_fds(pid).find(|(fd, link)| faces(*fd, link)).map(|(fd, _)| (pid, fd.number))
    }
}

/// Whether a read waits for input without a time limit (termios(3), `VTIME`).
pub(in crate::record) fn waits_for_ever(pid: Pid, fd: i32) -> bool {
    let settings = FdCopies::default().of(pid, fd).and_then(|copy| tcgetattr(copy).ok());
    settings.is_some_and(|settings| {
        settings.local_flags.contains(LocalFlags::ICANON)
            || settings.control_chars[SpecialCharacterIndices::VTIME as usize] == 0
    })
}

/// Flushes what is in flight to a side, and returns whether that succeeded. A kernel worker delivers it; poll(2) waits
/// for the worker first (`tty_buffer_flush_work`, drivers/tty/n_tty.c).
pub(in crate::record) fn is_flushed(pid: Pid, fd: i32) -> bool {
    let Some(copy) = FdCopies::default().of(pid, fd) else { return false };
    poll(&mut [PollFd::new(copy.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_other_side_is_found() {
        let pair = nix::pty::openpty(None, None).unwrap();
        let own = Pid::this();
        let [master, slave] = [pair.master.as_raw_fd(), pair.slave.as_raw_fd()];
        let side = |fd: i32| Side::of(own, fd, &Fd::of(own, fd).name().unwrap()).unwrap();
        assert_eq!(side(master).other(own), Some((own, slave)));
        assert_eq!(side(slave).other(own), Some((own, master)));
        assert!(waits_for_ever(own, slave) && is_flushed(own, slave) && is_flushed(own, master));
        assert_eq!(Side::of(own, slave, "/dev/null"), None);
    }
}
