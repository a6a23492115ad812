//! How far a process's stack may grow (getrlimit(2), `RLIMIT_STACK`).

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::last_os;

/// The limit of a process, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn stack_limit(pid: Pid) -> Result<u64, Error> {
    Ok(limit(pid, None)?.rlim_cur)
}

/// Set the limit of a process, at most to what it may set itself.
///
/// # Errors
/// If the process is gone.
pub fn set_stack_limit(pid: Pid, bytes: u64) -> Result<(), Error> {
    let old = limit(pid, None)?;
    limit(pid, Some(libc::rlimit { rlim_cur: bytes.min(old.rlim_max), ..old }))?;
    Ok(())
}

fn limit(pid: Pid, new: Option<libc::rlimit>) -> Result<libc::rlimit, Error> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: prlimit(2) reads the new limit, if the pointer is not null, and writes the old one; both live.
    if unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_STACK, new, &raw mut old) } != 0 {
        return Err(last_os(format!("set the stack limit of process {pid}")));
    }
    Ok(old)
}
