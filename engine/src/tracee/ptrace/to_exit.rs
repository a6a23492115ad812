//! Runs a task from the entry of a system call to its exit.

use super::task::{Running, Stop, Stopped};

/// Runs a task from the entry of a call to the call's exit. `resume` resumes it with
/// [`Resume::ToSyscallExit`](super::task::Resume::ToSyscallExit) and waits for its next stop. Also returns the task
/// that the call has created, if it has.
///
/// # Errors
/// Any error of `resume`.
pub fn to_exit<E>(
    mut stopped: Stopped,
    mut resume: impl FnMut(Stopped) -> Result<(Stopped, Stop), E>,
) -> Result<(Stopped, Option<Running>), E> {
    let mut made = None;
    loop {
        let stop;
        (stopped, stop) = resume(stopped)?;
        match stop {
            Stop::Cloned(tid) | Stop::Forked(tid) => made = Some(Running::assume(tid)),
            Stop::SyscallExit => return Ok((stopped, made)),
            _ => {}
        }
    }
}
