//! Keeping a thread on one core, and the others off it.

use std::sync::OnceLock;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::os;

/// The cores that the process had before it kept a thread on one of them.
static CORES: OnceLock<CpuSet> = OnceLock::new();

/// Keep the calling thread, and the processes it will start, on one core: across cores a ptrace stop costs many times
/// as much.
///
/// # Errors
/// If there is no such core for us.
pub fn pin(core: usize) -> Result<(), Error> {
    // Asked for while they still are all.
    let _all = cores();
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| os(format!("run on core {core}"))(e.into()))
}

/// Let the calling thread run on any core again: new threads are kept where the thread that starts them is.
pub fn unpin() {
    // The cores were ours once; should they not be any more, it stays where it is.
    let _free = cores().map(|cores| sched_setaffinity(Pid::from_raw(0), &cores));
}

/// How many cores [`unpin`]ned threads can run on.
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
