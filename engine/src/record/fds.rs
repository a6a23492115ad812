//! What the recorder must know of the program's descriptors.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::Pid;

use crate::trace::event::Stream;

/// What a descriptor stands for, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The program's standard output or error.
    Output(Stream),
    /// A file, directory or device that is always ready.
    Ready,
    /// Something that may have to be waited for: a pipe, a socket, an event.
    Waitable,
}

/// The descriptors of a process, looked up when first needed.
#[derive(Debug)]
pub(super) struct Fds {
    known: HashMap<u64, Kind>,
}

impl Fds {
    pub(super) fn new() -> Self {
        Self { known: HashMap::from([(1, Kind::Output(Stream::Stdout)), (2, Kind::Output(Stream::Stderr))]) }
    }

    /// What descriptor `fd` of the process stands for.
    pub(super) fn kind(&mut self, pid: Pid, fd: u64) -> Kind {
        *self.known.entry(fd).or_insert_with(|| {
            let waits = std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).map(|metadata| {
                let kind = metadata.file_type();
                let ready = kind.is_char_device() && !is_terminal(metadata.rdev());
                // Anonymous inodes (epoll, eventfd, timerfd …) are of no type at all.
                !(kind.is_file() || kind.is_dir() || kind.is_block_device() || ready)
            });
            if waits.unwrap_or(false) { Kind::Waitable } else { Kind::Ready }
        })
    }

    /// The descriptor is closed, or stands for something new.
    pub(super) fn forget(&mut self, fd: u64) {
        self.known.remove(&fd);
    }

    /// All descriptors from `first` to `last` are closed.
    pub(super) fn forget_range(&mut self, first: u64, last: u64) {
        self.known.retain(|fd, _| !(first..=last).contains(fd));
    }

    /// `copy` now stands for what `fd` stands for.
    pub(super) fn duplicate(&mut self, fd: u64, copy: u64) {
        match self.known.get(&fd) {
            Some(kind) => self.known.insert(copy, *kind),
            None => self.known.remove(&copy),
        };
    }
}

/// Whether a character device is a terminal, by its major number (the kernel's Documentation/admin-guide/devices.txt).
fn is_terminal(device: u64) -> bool {
    matches!(nix::sys::stat::major(device), 4 | 5 | 136..=143)
}

/// Whether a descriptor has O_NONBLOCK set (`/proc/PID/fdinfo/FD`, proc_pid_fdinfo(5)).
pub(super) fn nonblocking(pid: Pid, fd: u64) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}
