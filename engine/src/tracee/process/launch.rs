//! Starts the program to record.

use std::path::Path;

use super::fork::{Arguments, Streams, Then, fork_traced};
use super::kill_on_drop::KillOnDrop;
use super::set_up::{Executed, set_up};
use super::starting::starting;
use crate::Error;
use crate::program::Program;
use crate::tracee::area::Area;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::{Resume, Stop, Stopped, WaitStatus};

/// A new process with a single task.
#[derive(Debug)]
pub struct Launched {
    /// Its only task.
    pub task: Stopped,
    /// Its memory.
    pub memory: Memory,
    /// Kills the process and everything that it starts.
    pub kill_on_drop: KillOnDrop,
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
    let starting = starting();
    let task = fork_traced(area, &Then::Execute(Arguments::new(program)?, streams.fds()))?;
    let kill_on_drop = KillOnDrop::new(task.tid());
    let task = executed(task, &program.path)?;
    drop(starting);
    let Executed { task, memory } = set_up(task, area, random)?;
    Ok(Launched { task, memory, kill_on_drop })
}

/// Runs a task from the entry of execve(2) to its exit.
fn executed(task: Stopped, path: &Path) -> Result<Stopped, Error> {
    let refused = |source| Error::Start { program: path.display().to_string(), source };
    let mut task = task;
    loop {
        task = match task.resume(Resume::ToSyscallExit, 0)?.wait_soon()? {
            WaitStatus::Stopped(stopped, Stop::SyscallExit) => {
                let result = stopped.registers()?.result();
                if result == 0 {
                    return Ok(stopped);
                }
                return Err(refused(std::io::Error::from_raw_os_error(
                    i32::try_from(-result).unwrap_or(libc::EIO),
                )));
            }
            // The registers are the new program's only at the exit: before, execve would overwrite rax.
            WaitStatus::Stopped(stopped, _) => stopped,
            WaitStatus::Dead(_) => {
                return Err(refused(std::io::Error::other("it died while it was being executed")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracee::Stdin;
    use nix::sys::signal::{Signal, kill};

    /// Sends a signal to a program that has just been executed. Returns its first stop once it is prepared.
    fn first_stop_after(signal: Signal) -> Stop {
        let program =
            Program { path: "/bin/true".into(), args: Vec::new(), env: Vec::new(), cwd: "/".into() };
        let streams = Streams::new(Stdin::Null).unwrap();
        let area = Area::new().unwrap();
        let then = Then::Execute(Arguments::new(&program).unwrap(), streams.fds());
        let task = fork_traced(&area, &then).unwrap();
        let _kill_on_drop = KillOnDrop::new(task.tid());
        let task = executed(task, &program.path).unwrap();
        let mask = task.signal_mask().unwrap();
        kill(task.tid(), signal).unwrap();
        let Executed { task, .. } = set_up(task, &area, [0; 16]).unwrap();
        assert_eq!(task.signal_mask().unwrap(), mask);
        match task.resume(Resume::Freely, 0).unwrap().wait_soon().unwrap() {
            WaitStatus::Stopped(_, stop) => stop,
            WaitStatus::Dead(death) => panic!("{death:?}"),
        }
    }

    #[test]
    fn a_signal_that_comes_during_execve_is_not_lost() {
        for signal in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGSTOP] {
            assert_eq!(first_stop_after(signal), Stop::Signal(signal as i32));
        }
    }
}
