//! The limit on descriptors of this process (getrlimit(2), `RLIMIT_NOFILE`).
//!
//! The recorder keeps every file open that the program maps; the replayer keeps its stand-in. The usual limit is for
//! programs that use select(2), which this one does not.

use std::sync::OnceLock;

use libc::rlimit;

/// The limit before it was raised; `None` if it could not be raised.
static FOUND: OnceLock<Option<rlimit>> = OnceLock::new();

/// Raises the limit as far as possible. Programs that are started get the previous limit (`found`).
pub fn raise_descriptor_limit() {
    FOUND.get_or_init(|| {
        let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a valid place for the result, and then holds a limit.
        unsafe {
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
                return None;
            }
            let raised = rlimit { rlim_cur: limit.rlim_max, ..limit };
            (libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0).then_some(limit)
        }
    });
}

/// Returns the limit from before [`raise_descriptor_limit`].
pub(super) fn found() -> Option<rlimit> {
    FOUND.get().copied().flatten()
}
