//! The limit of a process's stack (getrlimit(2), `RLIMIT_STACK`).

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::on_task;

/// Returns the limit of a process, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn stack_limit(pid: Pid) -> Result<u64, Error> {
    // The limit of a process with another user's rights can only be read from /proc.
    limit(pid, None).map_or_else(|error| told(pid).ok_or(error), |limit| Ok(limit.rlim_cur))
}

/// Sets the limit of a process, at most to what the process may set itself.
///
/// # Errors
/// If the process is gone.
pub fn set_stack_limit(pid: Pid, bytes: u64) -> Result<(), Error> {
    let old = limit(pid, None)?;
    limit(pid, Some(libc::rlimit { rlim_cur: bytes.min(old.rlim_max), ..old }))?;
    Ok(())
}

/// Reads the limit from `/proc/PID/limits` (proc_pid_limits(5)).
fn told(pid: Pid) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max stack size"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(libc::RLIM_INFINITY),
        bytes => bytes.parse().ok(),
    }
}

fn limit(pid: Pid, new: Option<libc::rlimit>) -> Result<libc::rlimit, Error> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: prlimit(2) reads the new limit, if the pointer is not null, and writes the old one; both live.
    if unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_STACK, new, &raw mut old) } != 0 {
        let what = format!("look at the stack limit of process {pid}, or set it");
        return Err(on_task(what)(std::io::Error::last_os_error()));
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_alike() {
        let me = Pid::this();
        assert_eq!(told(me), Some(stack_limit(me).unwrap()));
    }
}
