//! Constants of the system, and errors of its calls.

use crate::Error;

/// Size of a page.
pub const PAGE: u64 = 4096;

/// Longest thread name that the kernel keeps (prctl(2), `PR_SET_NAME`).
pub const THREAD_NAME: usize = 15;

/// End of the address space that a program can use (x86-64 with four-level page tables, less the guard page).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// Makes the error of a failed system call: `what` it was, and on what.
pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Os { what, source }
}

/// Makes the error of the last failed libc call.
pub(crate) fn last_os(what: impl Into<String>) -> Error {
    Error::Os { what: what.into(), source: std::io::Error::last_os_error() }
}
