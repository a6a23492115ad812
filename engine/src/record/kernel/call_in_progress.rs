//! What the arguments of a call refer to in which a task sleeps
//! ([`call_in_progress`](crate::tracee::call_in_progress)): paths and descriptors.

use std::path::Path;

use nix::sys::statfs::statfs;

use crate::tracee::{Memory, Place};

/// Whether a file is a POSIX message queue (mq_overview(7)).
pub(in crate::record) fn is_queue(path: &Path) -> bool {
    /// linux/magic.h
    const MQUEUE_MAGIC: i64 = 0x1980_0202;
    statfs(path).is_ok_and(|system| system.filesystem_type().0 == MQUEUE_MAGIC)
}

/// Longest path (PATH_MAX).
pub(in crate::record) const PATH: usize = 4096;

/// Returns what a call opens: where its path starts, and the path.
pub(in crate::record) fn opened(number: i64, args: &[u64; 6], memory: &Memory) -> (Place, String) {
    let (directory, path) = match number {
        libc::SYS_openat => (args[0] as i32, args[1]),
        _ => (libc::AT_FDCWD, args[0]),
    };
    (Place::of_directory(directory), memory.text(path, PATH))
}

/// Returns the descriptors for which a ppoll(2) with these arguments waits.
pub(in crate::record) fn polled(memory: &Memory, args: &[u64; 6]) -> Vec<i32> {
    let [fds, count, ..] = *args;
    // struct pollfd: descriptor, requested events, returned events.
    let fds = memory.available(fds, count as usize * 8);
    let fds = fds.chunks_exact(8).map(|one| i32::from_ne_bytes([one[0], one[1], one[2], one[3]]));
    fds.filter(|fd| *fd >= 0).collect()
}
