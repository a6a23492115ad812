//! What the recorder must know about the program's descriptors.
//!
//! It keeps no table of them: descriptors come and go in many ways (fork, exec, passing over sockets …), and asking
//! `/proc` takes a fraction of the time of a stop.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::Pid;

use super::quota::Quota;
use crate::Error;
use crate::trace::event::Stream;
use crate::trace::log::inodes::{Identity, identity};
use crate::tracee::{Fd, Streams, belonging, os};

/// What a descriptor refers to, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum FdKind {
    /// The program's standard output or error.
    Output(Stream),
    /// A file, directory or device that is always ready.
    Ready,
    /// Something that may block: a pipe, a socket, a terminal, an event.
    Waitable,
}

impl FdKind {
    /// Classifies a descriptor whose metadata cannot be read. If it is not open, or its task is gone, a call on it ends
    /// at once. Otherwise it may be anything: a call on it is made so that it does no harm if it waits.
    pub(in crate::record) fn unreadable(error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Self::Ready,
            _ => Self::Waitable,
        }
    }
}

/// Classifies descriptors.
#[derive(Debug)]
pub(in crate::record) struct Fds {
    outputs: [(Identity, Stream); 2],
    /// The device number of /proc.
    proc: Option<u64>,
    quota: Quota,
    /// The standard streams, open as long as the program runs.
    streams: Streams,
}

impl Fds {
    pub(in crate::record) fn new(streams: Streams) -> Result<Self, Error> {
        let [out, err] = streams.written();
        let identity =
            |file: &std::fs::File| file.metadata().map(|m| identity(&m)).map_err(os("look at a pipe"));
        let outputs = [(identity(out)?, Stream::Stdout), (identity(err)?, Stream::Stderr)];
        let proc = std::fs::metadata("/proc").ok().map(|metadata| metadata.dev());
        Ok(Self { outputs, proc, quota: Quota::find(), streams })
    }

    /// Returns the standard streams with which the program is started.
    pub(in crate::record) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Returns the identity of the file to which descriptor `fd` of a task refers.
    pub(in crate::record) fn identity(&self, tid: Pid, fd: u64) -> Option<Identity> {
        Fd::argument(tid, fd).metadata().ok().map(|metadata| identity(&metadata))
    }

    /// Whether a file is in /proc.
    pub(in crate::record) fn is_of_proc(&self, metadata: &Metadata) -> bool {
        self.proc == Some(metadata.dev()) && metadata.is_file()
    }

    /// Whether there is a quota of processor time, which the program is not told of.
    pub(in crate::record) fn has_quota(&self) -> bool {
        self.quota.is_set()
    }

    /// Returns what a file is shown to contain, if it has the quota of processor time.
    pub(in crate::record) fn quota(&self, metadata: &Metadata) -> Option<&'static str> {
        self.quota.shown(metadata)
    }

    /// Classifies descriptors of a file.
    pub(in crate::record) fn kind_of(&self, metadata: &Metadata) -> FdKind {
        let identity = identity(metadata);
        if let Some((_, stream)) = self.outputs.iter().find(|(output, _)| *output == identity) {
            return FdKind::Output(*stream);
        }
        let kind = metadata.file_type();
        let waits = if kind.is_char_device() {
            is_terminals(libc::major(metadata.rdev()))
        } else {
            // Anonymous inodes (epoll, eventfd, timerfd …) have no file type.
            !(kind.is_file() || kind.is_dir() || kind.is_block_device())
        };
        if waits { FdKind::Waitable } else { FdKind::Ready }
    }
}

/// Whether devices with this major number are terminals (admin-guide/devices.rst): consoles, ptmx and the like, and
/// slaves of pseudo-terminals.
fn is_terminals(major: u32) -> bool {
    matches!(major, 4 | 5 | 136..=143)
}

/// Whether a descriptor refers to a terminal.
pub(in crate::record) fn is_terminal(tid: Pid, fd: u64) -> bool {
    terminal(tid, fd).is_some()
}

/// Returns the device number of the terminal to which a descriptor refers.
fn terminal(tid: Pid, fd: u64) -> Option<u64> {
    let metadata = Fd::argument(tid, fd).metadata().ok()?;
    let is_one = metadata.file_type().is_char_device() && is_terminals(libc::major(metadata.rdev()));
    is_one.then(|| metadata.rdev())
}

/// Whether a descriptor refers to the controlling terminal of a task's session while another process group is in the
/// foreground: reading it raises a signal instead of blocking (termios(3), "Job control").
pub(in crate::record) fn is_in_background(tid: Pid, fd: u64) -> bool {
    /// `/dev/tty`, which stands for the controlling terminal.
    const TTY: u64 = libc::makedev(5, 0);
    let Some(terminal) = terminal(tid, fd) else { return false };
    belonging(tid).is_some_and(|task| {
        let controls = task.terminal != 0 && (terminal == TTY || task.terminal == terminal);
        controls && task.group != task.foreground
    })
}

/// Whether a descriptor has `O_NONBLOCK` set.
pub(in crate::record) fn nonblocking(tid: Pid, fd: u64) -> bool {
    flags(tid, fd) & libc::O_NONBLOCK != 0
}

/// Returns a descriptor's access mode and status flags (open(2)).
pub(in crate::record) fn flags(tid: Pid, fd: u64) -> i32 {
    Fd::argument(tid, fd).info().ok().and_then(|info| info.flags()).unwrap_or(0)
}

/// Returns a descriptor's file offset.
pub(in crate::record) fn offset(tid: Pid, fd: u64) -> u64 {
    Fd::argument(tid, fd).info().ok().and_then(|info| info.offset()).unwrap_or(0)
}

/// Whether a descriptor refers to the memory of a process (proc_pid_mem(5)).
pub(in crate::record) fn is_memory(tid: Pid, fd: u64) -> bool {
    memory_of(tid, fd).is_some()
}

/// Returns the process to whose memory a descriptor refers.
pub(in crate::record) fn memory_of(tid: Pid, fd: u64) -> Option<i32> {
    let link = Fd::argument(tid, fd).link().ok()?;
    let of = link.to_str()?.strip_prefix("/proc/")?.strip_suffix("/mem")?;
    of.split('/').next()?.parse().ok()
}

/// Returns the process to which a pidfd refers (pidfd_open(2)).
pub(in crate::record) fn pidfd(tid: Pid, fd: u64) -> i32 {
    Fd::argument(tid, fd).info().ok().and_then(|info| info.process()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_may_wait_unless_it_is_not_open() {
        let kind = |errno| FdKind::unreadable(&std::io::Error::from_raw_os_error(errno));
        assert_eq!([libc::ENOENT, libc::ESRCH].map(kind), [FdKind::Ready; 2]);
        assert_eq!([libc::EACCES, libc::ENOMEM, libc::EIO].map(kind), [FdKind::Waitable; 3]);
        let none = Fd::of(Pid::this(), i32::MAX).metadata().expect_err("no such descriptor");
        assert_eq!(FdKind::unreadable(&none), FdKind::Ready);
    }

    #[test]
    fn what_may_wait_is_told_from_what_never_does() {
        let fds = Fds::new(Streams::new(crate::tracee::Stdin::Null).unwrap()).unwrap();
        let kind = |file: &std::fs::File| fds.kind_of(&file.metadata().unwrap());
        let [out, err] = fds.streams().written();
        assert_eq!([out, err].map(kind), [FdKind::Output(Stream::Stdout), FdKind::Output(Stream::Stderr)]);
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert_eq!(kind(&std::os::fd::OwnedFd::from(pipe).into()), FdKind::Waitable);
        let open = |path| std::fs::File::open(path).unwrap();
        assert_eq!(["/", "/dev/null", "/proc/self/stat"].map(|path| kind(&open(path))), [FdKind::Ready; 3]);
    }
}
