//! A process made from nothing, to be filled from a trace.

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::tracee::fork::{Then, fork_traced};
use crate::tracee::{Area, Launched, Leash, Memory, Stdin, TASK_SIZE, os, remote};

/// Make a process with nothing in it but the shared area: no memory and no descriptors of ours, no vdso. Its only task
/// stands at the entry of a call that is not to happen, ready for [`remote`].
///
/// # Errors
/// If tracing is not allowed, or the kernel refuses something.
pub fn rebuild(area: &Area) -> Result<Launched, Error> {
    let mut task = fork_traced(area, Stdin::Null, &Then::Wait)?;
    let leash = Leash::new(task.tid());
    let memory = Memory::open(task.tid())?;
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
    Ok(Launched { task, memory, leash })
}
