//! Makes empty processes, to be filled from a trace.

use rrtest_preload::layout::{AREA, AREA_LEN};

use super::branch::branch;
use super::filter::replayed;
use super::fork::{Then, fork_traced};
use super::kill_on_drop::KillOnDrop;
use super::launch::Launched;
use super::starting::starting;
use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::inject::remote;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Stopped;
use crate::tracee::system::{TASK_SIZE, os};

/// Makes a process that has nothing but the shared area: no memory and no descriptors of this process, no vdso. Its
/// only task stands at the entry of a call that will not be made, ready for [`remote()`].
///
/// Whatever runs there can do nothing but to itself: see [`replayed`]. If it takes all memory, it is the first that the
/// kernel kills (proc_pid_oom_score_adj(5)).
///
/// # Errors
/// If tracing is not allowed, or the kernel refuses something.
pub fn rebuild(area: &Area) -> Result<Launched, Error> {
    let _starting = starting();
    let task = fork_traced(area, &Then::BeRebuilt(replayed()))?;
    let kill_on_drop = KillOnDrop::of_group(task.tid());
    let first_to_go = format!("/proc/{}/oom_score_adj", task.tid());
    std::fs::write(&first_to_go, "1000").map_err(os(format!("write {first_to_go}")))?;
    let memory = Memory::open(task.tid())?;
    Ok(Launched { task: empty(task)?, memory, kill_on_drop })
}

/// Makes another empty process from a task of an existing one, which is not changed. The two share nothing but the
/// shared area. The new process is a child of the caller.
///
/// # Errors
/// If the kernel refuses something.
pub fn another(task: Stopped, kill_on_drop: &KillOnDrop) -> Result<(Stopped, Stopped), Error> {
    let (task, new) = branch(task, 0)?;
    kill_on_drop.add(new.tid());
    Ok((task, empty(new)?))
}

/// Removes everything that a process has except the shared area.
fn empty(mut task: Stopped) -> Result<Stopped, Error> {
    let end = (AREA + AREA_LEN) as u64;
    for (number, args) in [
        (libc::SYS_munmap, [0, AREA as u64, 0, 0, 0, 0]),
        (libc::SYS_munmap, [end, TASK_SIZE - end, 0, 0, 0, 0]),
        (libc::SYS_close_range, [0, u64::from(u32::MAX), 0, 0, 0, 0]),
    ] {
        let result;
        (task, result) = remote(task, number as u64, args)?;
        if result != 0 {
            let source = std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO));
            return Err(os("empty the replayed process")(source));
        }
    }
    Ok(task)
}
