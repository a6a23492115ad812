//! How many descriptors we may have (getrlimit(2), `RLIMIT_NOFILE`).
//!
//! The recorder holds every file open that the program maps, the replayer its stand-in. The usual limit is one for
//! programs that use select(2), which we do not.

use std::sync::OnceLock;

use libc::rlimit;

/// What the limit was before we raised it; none if we could not.
static FOUND: OnceLock<Option<rlimit>> = OnceLock::new();

/// Raise our limit as far as it goes. The programs that we start get the one that we found (`found`).
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

/// The limit from before [`raise_descriptor_limit`].
pub(super) fn found() -> Option<rlimit> {
    FOUND.get().copied().flatten()
}
