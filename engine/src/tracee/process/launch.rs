//! Starts the program to record.

use std::path::Path;

use super::fork::{Arguments, Streams, Then, fork_traced};
use super::leash::Leash;
use super::settle::{Settled, settle};
use crate::Error;
use crate::program::Program;
use crate::tracee::area::Area;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::{Resume, Stop, Stopped, Wait};

/// A new process with a single task.
#[derive(Debug)]
pub struct Launched {
    /// Its only task.
    pub task: Stopped,
    /// Its memory.
    pub memory: Memory,
    /// Kills the process and everything that it starts.
    pub leash: Leash,
}

/// Starts a program, traced, with the shared area mapped. It stands before its first instruction; resuming it starts
/// it. `random` is what it finds as AT_RANDOM (getauxval(3)), from which C libraries seed their stack protector.
///
/// # Errors
/// [`Error::Start`] if it cannot be executed; [`Error::Forbidden`] if tracing is not allowed.
pub fn launch(
    program: &Program,
    streams: &Streams,
    area: &Area,
    random: [u8; 16],
) -> Result<Launched, Error> {
    let task = fork_traced(area, &Then::Execute(Arguments::new(program)?, streams.fds()))?;
    let leash = Leash::new(task.tid());
    let task = executed(task, &program.path)?;
    let Settled { task, memory } = settle(task, area, random)?;
    Ok(Launched { task, memory, leash })
}

/// Runs a task from the entry of execve(2) to its exit.
fn executed(task: Stopped, path: &Path) -> Result<Stopped, Error> {
    let refused = |source| Error::Start { program: path.display().to_string(), source };
    let mut task = task;
    loop {
        task = match task.resume(Resume::ToSyscallExit, 0)?.wait_soon()? {
            Wait::Stopped(stopped, Stop::SyscallExit) => {
                let result = stopped.registers()?.result();
                if result == 0 {
                    return Ok(stopped);
                }
                return Err(refused(std::io::Error::from_raw_os_error(
                    i32::try_from(-result).unwrap_or(libc::EIO),
                )));
            }
            // The registers are the new program's only at the exit: before, execve would overwrite rax.
            Wait::Stopped(stopped, _) => stopped,
            Wait::Dead(_) => {
                return Err(refused(std::io::Error::other("it died while it was being executed")));
            }
        }
    }
}
