//! Keeping a thread on one core.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Error;
use crate::tracee::os;

/// Keep the calling thread, and the processes it will start, on one core: across cores a ptrace stop costs many times
/// as much.
///
/// # Errors
/// If there is no such core for us.
pub fn pin(core: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| os(format!("run on core {core}"))(e.into()))
}
