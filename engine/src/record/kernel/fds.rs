//! What the recorder must know of the program's descriptors.
//!
//! It keeps no table of them: descriptors come and go in many ways (fork, exec, passing over sockets …), and `/proc` tells
//! within a fraction of what a stop costs.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::Pid;

use crate::Error;
use crate::trace::event::Stream;
use crate::trace::inodes::{Identity, identity};
use crate::tracee::{Streams, os};

/// What a descriptor stands for, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Kind {
    /// The program's standard output or error.
    Output(Stream),
    /// A file, directory or device that is always ready.
    Ready,
    /// Something that may have to be waited for: a pipe, a socket, a terminal, an event.
    Waitable,
}

/// Tells descriptors apart.
#[derive(Debug)]
pub(in crate::record) struct Fds {
    outputs: [(Identity, Stream); 2],
    /// The device that /proc is.
    proc: Option<u64>,
    /// Alive as long as the program runs.
    streams: Streams,
}

impl Fds {
    pub(in crate::record) fn new(streams: Streams) -> Result<Self, Error> {
        let [out, err] = streams.written();
        let identity =
            |file: &std::fs::File| file.metadata().map(|m| identity(&m)).map_err(os("look at a pipe"));
        let outputs = [(identity(out)?, Stream::Stdout), (identity(err)?, Stream::Stderr)];
        let proc = std::fs::metadata("/proc").ok().map(|metadata| metadata.dev());
        Ok(Self { outputs, proc, streams })
    }

    /// The standard streams that the program is started with.
    pub(in crate::record) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The file that descriptor `fd` of the task stands for, if it is one.
    pub(in crate::record) fn identity(&self, tid: Pid, fd: u64) -> Option<Identity> {
        std::fs::metadata(format!("/proc/{tid}/fd/{}", fd as i32)).ok().map(|metadata| identity(&metadata))
    }

    /// What is known of the file that descriptor `fd` of the task stands for.
    pub(in crate::record) fn metadata(tid: Pid, fd: u64) -> Option<Metadata> {
        std::fs::metadata(format!("/proc/{tid}/fd/{}", fd as i32)).ok()
    }

    /// Whether it is a file in /proc.
    pub(in crate::record) fn is_of_proc(&self, metadata: &Metadata) -> bool {
        self.proc == Some(metadata.dev()) && metadata.is_file()
    }

    /// What descriptors of a file stand for.
    pub(in crate::record) fn kind_of(&self, metadata: &Metadata) -> Kind {
        let identity = identity(metadata);
        if let Some((_, stream)) = self.outputs.iter().find(|(output, _)| *output == identity) {
            return Kind::Output(*stream);
        }
        let kind = metadata.file_type();
        let waits = if kind.is_char_device() {
            is_terminals(libc::major(metadata.rdev()))
        } else {
            // Anonymous inodes (epoll, eventfd, timerfd …) are of no type at all.
            !(kind.is_file() || kind.is_dir() || kind.is_block_device())
        };
        if waits { Kind::Waitable } else { Kind::Ready }
    }
}

/// The descriptors of a process, each with what it stands for, as far as we may know (proc_pid_fd(5)).
pub(in crate::record) fn links(pid: Pid) -> impl Iterator<Item = (i32, String)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let link = std::fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, link.to_string_lossy().into_owned()))
    })
}

/// Whether devices of this major number are terminals (admin-guide/devices.rst): consoles, ptmx and the like, and the
/// slaves of pseudo-terminals.
fn is_terminals(major: u32) -> bool {
    matches!(major, 4 | 5 | 136..=143)
}

/// Whether a descriptor is of a terminal.
pub(in crate::record) fn is_terminal(tid: Pid, fd: u64) -> bool {
    terminal(tid, fd).is_some()
}

/// The number of the terminal that a descriptor is of.
fn terminal(tid: Pid, fd: u64) -> Option<u64> {
    let metadata = std::fs::metadata(format!("/proc/{tid}/fd/{}", fd as i32)).ok()?;
    let is_one = metadata.file_type().is_char_device() && is_terminals(libc::major(metadata.rdev()));
    is_one.then(|| metadata.rdev())
}

/// Whether a descriptor is of the terminal that controls a task's session, whose foreground is another process group's:
/// reading from it is not a matter of waiting (termios(3), "Job control").
pub(in crate::record) fn is_in_background(tid: Pid, fd: u64) -> bool {
    /// `/dev/tty`, whichever terminal that is.
    const TTY: u64 = libc::makedev(5, 0);
    let Some(terminal) = terminal(tid, fd) else { return false };
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{tid}/stat")) else { return false };
    // proc_pid_stat(5): behind the name come state, parent, group, session, terminal, and the group in its foreground.
    let fields: Vec<i64> = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_whitespace()
        .skip(2)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    let &[group, _, number, foreground] = &fields[..] else { return false };
    let controls = number != 0 && (terminal == TTY || device(number as u32) == terminal);
    controls && group != foreground
}

/// A device as stat(2) has it, from the number that the kernel has for it (linux/kdev_t.h, `new_encode_dev`).
fn device(number: u32) -> u64 {
    libc::makedev(number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00)
}

/// Whether a descriptor has O_NONBLOCK set.
pub(in crate::record) fn nonblocking(tid: Pid, fd: u64) -> bool {
    flags(tid, fd) & libc::O_NONBLOCK != 0
}

/// A descriptor's access mode and status flags (open(2)).
pub(in crate::record) fn flags(tid: Pid, fd: u64) -> i32 {
    info(tid, fd, "flags:").and_then(|flags| i32::from_str_radix(&flags, 8).ok()).unwrap_or(0)
}

/// A descriptor's file offset.
pub(in crate::record) fn offset(tid: Pid, fd: u64) -> u64 {
    info(tid, fd, "pos:").and_then(|offset| offset.parse().ok()).unwrap_or(0)
}

/// Whether a descriptor is of the memory of a process (proc_pid_mem(5)).
pub(in crate::record) fn is_memory(tid: Pid, fd: u64) -> bool {
    memory_of(tid, fd).is_some()
}

/// The process whose memory a descriptor is of.
pub(in crate::record) fn memory_of(tid: Pid, fd: u64) -> Option<i32> {
    let link = std::fs::read_link(format!("/proc/{tid}/fd/{}", fd as i32)).ok()?;
    let of = link.to_str()?.strip_prefix("/proc/")?.strip_suffix("/mem")?;
    of.split('/').next()?.parse().ok()
}

/// The process that a pidfd stands for (pidfd_open(2)).
pub(in crate::record) fn pidfd(tid: Pid, fd: u64) -> i32 {
    info(tid, fd, "Pid:").and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

/// A line of `/proc/PID/fdinfo/FD` (proc_pid_fdinfo(5)).
pub(in crate::record) fn info(tid: Pid, fd: u64, key: &str) -> Option<String> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{}", fd as i32)).ok()?;
    info.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
}
