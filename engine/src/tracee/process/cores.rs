//! Pins threads to a core.

use std::sync::OnceLock;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::os;

/// The cores that the process had before it first pinned a thread.
static CORES: OnceLock<CpuSet> = OnceLock::new();

/// Pins the calling thread, and the processes that it will start, to a core: a ptrace stop across cores takes many
/// times as long.
///
/// # Errors
/// If this process may not run on that core.
pub fn bind_to_core(core: usize) -> Result<(), Error> {
    // Saves the set of cores while it is complete.
    let _all = cores();
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| os(format!("run on core {core}"))(e.into()))
}

/// Lets the calling thread run on any core again: new threads inherit the cores of the thread that starts them.
pub fn unbind() {
    // If these cores are no longer available, the thread stays where it is.
    let _free = cores().map(|cores| sched_setaffinity(Pid::from_raw(0), &cores));
}

/// Returns the number of cores on which [`unbind`]ned threads can run.
#[must_use]
pub fn core_count() -> usize {
    cores()
        .map_or(1, |cores| (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap_or(false)).count())
}

fn cores() -> Option<CpuSet> {
    if let Some(cores) = CORES.get() {
        return Some(*cores);
    }
    let cores = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some(*CORES.get_or_init(|| cores))
}
