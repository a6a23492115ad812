//! Forks a process from outside.

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::inject::remote;
use crate::tracee::ptrace::{Resume, Running, Stop, Stopped, WaitStatus};
use crate::tracee::system::os;

/// Forks a process that has a single task (fork(2)). The copy is traced, and a child of the caller. Afterwards both
/// tasks stand ready for [`remote()`], as the first one must before. `clear_tid` is where the kernel writes a zero when
/// the new task ends (set_tid_address(2)); 0 for nowhere.
///
/// # Errors
/// If the kernel refuses it, or one of them dies.
pub fn branch(task: Stopped, clear_tid: u64) -> Result<(Stopped, Stopped), Error> {
    let clear = if clear_tid == 0 { 0 } else { libc::CLONE_CHILD_CLEARTID };
    let flags = (libc::CLONE_PARENT | clear) as u64;
    let (task, result) = remote(task, libc::SYS_clone as u64, [flags, 0, 0, clear_tid, 0, 0])?;
    let failed = os(format!("fork process {}", task.tid()));
    let Some(pid) = i32::try_from(result).ok().filter(|pid| *pid > 0) else {
        let errno = i32::try_from(-result).unwrap_or(libc::EIO);
        return Err(failed(std::io::Error::from_raw_os_error(errno)));
    };
    let mut new = Running::assume(Pid::from_raw(pid));
    loop {
        match new.wait_soon()? {
            // It stands at the end of the injected code.
            WaitStatus::Stopped(stopped, Stop::Seccomp) => return Ok((task, stopped)),
            WaitStatus::Stopped(stopped, _) => new = stopped.resume(Resume::Freely, 0)?,
            WaitStatus::Dead(death) => {
                return Err(failed(std::io::Error::other(format!("its copy died: {death:?}"))));
            }
        }
    }
}
