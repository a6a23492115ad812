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

/// Makes the error of a failed request on a task: that the task is gone, or what the system says otherwise. /proc has
/// no files of a task that is gone.
pub(crate) fn on_task(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| match source.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => Error::Gone { what },
        _ => Error::Os { what, source },
    }
}

/// Makes the error of the last failed libc call.
pub(crate) fn last_os(what: impl Into<String>) -> Error {
    Error::Os { what: what.into(), source: std::io::Error::last_os_error() }
}

/// Makes sure that /proc is there: all memory of processes is read and written through it.
pub(crate) fn needs_proc() -> Result<(), Error> {
    if std::path::Path::new("/proc/self/mem").exists() {
        return Ok(());
    }
    Err(Error::Forbidden {
        what: "there is no /proc here, through which processes are looked into".into(),
        remedy: "mount it: `mount -t proc proc /proc`, before chroot(8) at its place in the new root".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_task_that_does_not_exist_is_gone() {
        let error = |errno| std::io::Error::from_raw_os_error(errno);
        assert!(matches!(on_task("look")(error(libc::ESRCH)), Error::Gone { .. }));
        assert!(matches!(on_task("look")(error(libc::EIO)), Error::Os { .. }));
        assert!(matches!(os("look")(error(libc::ESRCH)), Error::Os { .. }), "it is not about a task");
    }
}
