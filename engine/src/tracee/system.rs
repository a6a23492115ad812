//! What all rooms take for granted of the system: its sizes, and how its errors are told.

use crate::Error;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Bytes that the kernel keeps of a thread's name (prctl(2), `PR_SET_NAME`).
pub const THREAD_NAME: usize = 15;

/// The end of the address space that a program can use (x86-64 with four-level page tables, less the guard page).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// An operating system call failed: which one, on what.
pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Os { what, source }
}

/// The same, with the error that the last failed libc call left behind.
pub(crate) fn last_os(what: impl Into<String>) -> Error {
    Error::Os { what: what.into(), source: std::io::Error::last_os_error() }
}
