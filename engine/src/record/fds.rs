//! What the recorder must know of the program's descriptors.
//!
//! It keeps no table of them: descriptors come and go in many ways (fork, exec, passing over sockets …), and `/proc` tells
//! within a fraction of what a stop costs.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::Pid;

use crate::Error;
use crate::trace::event::Stream;
use crate::tracee::{Streams, os};

/// What a descriptor stands for, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The program's standard output or error.
    Output(Stream),
    /// A file, directory or device that is always ready.
    Ready,
    /// Something that may have to be waited for: a pipe, a socket, a terminal, an event.
    Waitable,
}

/// What tells files apart: device and inode.
type Identity = (u64, u64);

/// Tells descriptors apart.
#[derive(Debug)]
pub(super) struct Fds {
    outputs: [(Identity, Stream); 2],
    /// Alive as long as the program runs.
    _streams: Streams,
}

impl Fds {
    pub(super) fn new(streams: Streams) -> Result<Self, Error> {
        let [out, err] = streams.written();
        let identity =
            |file: &std::fs::File| file.metadata().map(|m| identity(&m)).map_err(os("look at a pipe"));
        let outputs = [(identity(out)?, Stream::Stdout), (identity(err)?, Stream::Stderr)];
        Ok(Self { outputs, _streams: streams })
    }

    /// What descriptor `fd` of the task stands for.
    pub(super) fn kind(&self, tid: Pid, fd: u64) -> Kind {
        let Ok(metadata) = std::fs::metadata(format!("/proc/{tid}/fd/{}", fd as i32)) else {
            return Kind::Ready;
        };
        let identity = identity(&metadata);
        if let Some((_, stream)) = self.outputs.iter().find(|(output, _)| *output == identity) {
            return Kind::Output(*stream);
        }
        let kind = metadata.file_type();
        let waits = if kind.is_char_device() {
            is_terminal(libc::major(metadata.rdev()))
        } else {
            // Anonymous inodes (epoll, eventfd, timerfd …) are of no type at all.
            !(kind.is_file() || kind.is_dir() || kind.is_block_device())
        };
        if waits { Kind::Waitable } else { Kind::Ready }
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Whether devices of this major number are terminals (admin-guide/devices.rst): consoles, ptmx and the like, and the
/// slaves of pseudo-terminals.
fn is_terminal(major: u32) -> bool {
    matches!(major, 4 | 5 | 136..=143)
}

/// Whether a descriptor has O_NONBLOCK set (`/proc/PID/fdinfo/FD`, proc_pid_fdinfo(5)).
pub(super) fn nonblocking(tid: Pid, fd: u64) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{}", fd as i32)).unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}
