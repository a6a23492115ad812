//! The call in which a task sleeps, as the kernel reports it, and what its arguments refer to: paths, and descriptors
//! with everything that they watch.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::unistd::Pid;

use crate::tracee::Memory;

/// Whether a file is a POSIX message queue (mq_overview(7)).
pub(in crate::record) fn is_queue(path: &str) -> bool {
    /// linux/magic.h
    const MQUEUE_MAGIC: i64 = 0x1980_0202;
    statfs(path).is_ok_and(|system| system.filesystem_type().0 == MQUEUE_MAGIC)
}

/// Longest path (PATH_MAX).
pub(in crate::record) const PATH: usize = 4096;

/// Returns the link in `/proc/PID` at which a relative path of a call starts (openat(2)).
pub(in crate::record) fn start(directory: i32) -> String {
    if directory == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{directory}") }
}

/// Returns what a call opens: the link in `/proc/PID` at which its path starts, and the path.
pub(in crate::record) fn opened(number: i64, args: &[u64; 6], memory: &Memory) -> (String, String) {
    let (directory, path) = match number {
        libc::SYS_openat => (args[0] as i32, args[1]),
        _ => (libc::AT_FDCWD, args[0]),
    };
    (start(directory), memory.text(path, PATH))
}

/// Returns the metadata of the file to which a path leads a task.
pub(in crate::record) fn found_at(tid: Pid, directory: &str, path: &str) -> Option<Metadata> {
    let from = if path.starts_with('/') { "root" } else { directory };
    std::fs::metadata(format!("/proc/{tid}/{from}/{path}")).ok()
}

/// Returns the descriptors for which a ppoll(2) with these arguments waits.
pub(in crate::record) fn polled(memory: &Memory, args: &[u64; 6]) -> Vec<i32> {
    let [fds, count, ..] = *args;
    // struct pollfd: descriptor, requested events, returned events.
    let fds = memory.available(fds, count as usize * 8);
    let fds = fds.chunks_exact(8).map(|one| i32::from_ne_bytes([one[0], one[1], one[2], one[3]]));
    fds.filter(|fd| *fd >= 0).collect()
}

pub(in crate::record) fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Returns the system call in which a task sleeps, with its arguments (`/proc/PID/syscall`, proc_pid_syscall(5)).
pub(in crate::record) fn call_in_progress(tid: Pid) -> Option<(i64, [u64; 6])> {
    call_of(&std::fs::read_to_string(format!("/proc/{tid}/syscall")).ok()?)
}

/// Parses `/proc/PID/syscall`. Returns `None` for a task that runs.
fn call_of(text: &str) -> Option<(i64, [u64; 6])> {
    let mut fields = text.split_whitespace();
    let number = fields.next()?.parse().ok()?;
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(fields.next()?.trim_start_matches("0x"), 16).ok()?;
    }
    Some((number, args))
}

/// Returns the descriptors that an epoll descriptor of a task watches; -1 for one that cannot be read.
pub(in crate::record) fn watched(tid: Pid, fd: i32) -> Vec<i32> {
    let info = std::fs::read_to_string(format!("/proc/{tid}/fdinfo/{fd}")).unwrap_or_default();
    of_epoll(&info).collect()
}

/// Parses the descriptors that an epoll descriptor watches from its `fdinfo` (proc_pid_fdinfo(5)).
pub(in crate::record) fn of_epoll(info: &str) -> impl Iterator<Item = i32> {
    info.lines()
        .filter_map(|line| line.strip_prefix("tfd:"))
        .map(|rest| rest.split_whitespace().next().and_then(|fd| fd.parse().ok()).unwrap_or(-1))
}

/// Parses the inodes that an inotify(7) descriptor watches from its `fdinfo` (proc_pid_fdinfo(5)).
pub(in crate::record) fn watched_inodes(info: &str) -> impl Iterator<Item = u64> {
    let inode = |line: &str| {
        line.split_whitespace().find_map(|word| u64::from_str_radix(word.strip_prefix("ino:")?, 16).ok())
    };
    info.lines().filter(|line| line.starts_with("inotify ")).map(move |line| inode(line).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watched_descriptors_are_read() {
        let info =
            "pos:\t0\nflags:\t02\ntfd:        5 events: 80000019 data: 0  pos:0 ino:61af sdev:7\ntfd: x\n";
        assert_eq!(of_epoll(info).collect::<Vec<_>>(), [5, -1]);
        assert_eq!(of_epoll("pos:\t0\n").count(), 0);
    }

    #[test]
    fn watched_inodes_are_read() {
        let info = "pos:\t0\ninotify wd:1 ino:8b0 sdev:fe00000 mask:fc6 ignored_mask:0 fhandle-bytes:8\n";
        assert_eq!(watched_inodes(info).collect::<Vec<_>>(), [0x8b0]);
    }

    #[test]
    fn a_call_in_progress_is_read() {
        let read = "0 0x3 0x7ffe18 0x400 0x0 0x0 0x7fff 0x7ffe08 0x7f12\n";
        assert_eq!(call_of(read), Some((libc::SYS_read, [3, 0x7f_fe18, 0x400, 0, 0, 0x7fff])));
        for none in ["running\n", "-1 0x7ffe08 0x7f12\n", ""] {
            assert_eq!(call_of(none), None, "{none:?}");
        }
    }
}
