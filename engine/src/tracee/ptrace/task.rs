//! A traced task, stopped or running.

use libc::{c_int, c_long, pid_t};
use nix::sys::ptrace;
use nix::unistd::Pid;

use super::debug_registers::{DebugRegisters, Point};
use super::registers::Registers;
use crate::Error;
use crate::tracee::system::on_task;

/// A traced task in a ptrace stop. It stays there until it is resumed or dies of SIGKILL.
#[derive(Debug)]
pub struct Stopped {
    tid: Pid,
}

/// A traced task that runs, or sleeps in the kernel.
#[derive(Debug)]
pub struct Running {
    tid: Pid,
}

/// Why a task stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At the entry of a system call, which has not been made yet: the seccomp filter.
    Seccomp,
    /// At the end of a system call that was resumed with [`Resume::ToSyscallExit`].
    SyscallExit,
    /// About to get this signal.
    Signal(c_int),
    /// Inside a clone call that has created the task with this thread id.
    Cloned(Pid),
    /// Inside a fork or vfork that has created this process.
    Forked(Pid),
    /// Inside a successful execve(2).
    Executed,
    /// A job-control signal has stopped the process (ptrace(2), "Group-stop").
    Group(c_int),
    /// A new task's first stop, a stop that [`Running::interrupt`] asked for, or the end of a group stop.
    Event,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// It exited with this code.
    Exited(c_int),
    /// This signal killed it.
    Killed(c_int),
}

/// What a task did next.
#[derive(Debug)]
pub enum WaitStatus {
    /// It stopped.
    Stopped(Stopped, Stop),
    /// It is gone.
    Dead(Death),
}

/// How to resume a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Until something happens; system calls stop if the filter says so.
    Freely,
    /// Until its system call ends, or something happens before.
    ToSyscallExit,
    /// For one instruction.
    Step,
}

impl Resume {
    fn request(self) -> super::Request {
        match self {
            Self::Freely => libc::PTRACE_CONT,
            Self::ToSyscallExit => libc::PTRACE_SYSCALL,
            Self::Step => libc::PTRACE_SINGLESTEP,
        }
    }
}

impl Stopped {
    /// Takes charge of a task that is known to be in a stop that has been waited for.
    pub(in crate::tracee) fn assume(tid: Pid) -> Self {
        Self { tid }
    }

    /// Makes a token that stands for no task.
    #[cfg(test)]
    pub(crate) fn in_test(tid: Pid) -> Self {
        Self { tid }
    }

    /// Returns its thread id.
    #[must_use]
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Reads its general registers.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn registers(&self) -> Result<Registers, Error> {
        ptrace::getregs(self.tid).map(Registers::from_kernel).map_err(|e| self.refused("read registers", e))
    }

    /// Sets its general registers.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn set_registers(&self, registers: &Registers) -> Result<(), Error> {
        ptrace::setregs(self.tid, (*registers).to_kernel()).map_err(|e| self.refused("set registers", e))
    }

    /// Reads the information on the signal that it is about to get.
    ///
    /// # Errors
    /// If it is not at a signal stop, or has been killed.
    pub fn signal_info(&self) -> Result<libc::siginfo_t, Error> {
        ptrace::getsiginfo(self.tid).map_err(|e| self.refused("read signal information", e))
    }

    /// Replaces the information on the signal that it is about to get.
    ///
    /// # Errors
    /// As for [`Self::signal_info`].
    pub fn set_signal_info(&self, info: &libc::siginfo_t) -> Result<(), Error> {
        ptrace::setsiginfo(self.tid, info).map_err(|e| self.refused("set signal information", e))
    }

    /// Sets a hardware breakpoint: the task stops with SIGTRAP when it reaches the instruction at `address`. `None`
    /// removes it.
    ///
    /// # Errors
    /// If the processor, or what emulates it, has no such breakpoints.
    pub fn break_at(&self, address: Option<u64>) -> Result<(), Error> {
        let mut wanted = DebugRegisters::default();
        address.and_then(|address| wanted.take(Point::Execute(address)));
        // Whatever they are used for: for something else.
        let mut unknown = DebugRegisters::default();
        unknown.take(Point::Execute(u64::MAX));
        unknown.change(self, &wanted)
    }

    /// Whether it stands at the entry of a system call, even one that will not be made.
    ///
    /// # Errors
    /// If the task has been killed, or the kernel is older than Linux 5.3.
    pub fn at_entry(&self) -> Result<bool, Error> {
        /// `PTRACE_GET_SYSCALL_INFO` (linux/ptrace.h).
        const GET_SYSCALL_INFO: super::Request = 0x420e;
        /// `op` of `struct ptrace_syscall_info`, its first byte: `PTRACE_SYSCALL_INFO_ENTRY`,
        /// `PTRACE_SYSCALL_INFO_SECCOMP`.
        const ENTRIES: [u8; 2] = [1, 3];
        let mut info = [0_u8; 1];
        // SAFETY: PTRACE_GET_SYSCALL_INFO (ptrace(2)) writes as many bytes to `data` as `addr` says: those of `info`.
        let result =
            unsafe { libc::ptrace(GET_SYSCALL_INFO, self.tid.as_raw(), info.len(), info.as_mut_ptr()) };
        if result == -1 {
            return Err(self.refused("query the stop", nix::errno::Errno::last()));
        }
        Ok(ENTRIES.contains(&info[0]))
    }

    /// Whether a signal is pending for it, or (`shared`) for its process.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn has_signals(&self, shared: bool) -> Result<bool, Error> {
        /// `PTRACE_PEEKSIGINFO_SHARED` (linux/ptrace.h).
        const SHARED: u32 = 1;
        // `struct ptrace_peeksiginfo_args`: offset (in two halves), flags, number.
        let asked = [0, 0, if shared { SHARED } else { 0 }, 1];
        // SAFETY: an all-zero siginfo is valid; PTRACE_PEEKSIGINFO (ptrace(2)) reads `asked`, and writes the one signal
        // that it asks for to `info`.
        let count = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_PEEKSIGINFO, self.tid.as_raw(), &raw const asked, &raw mut info)
        };
        if count == -1 {
            Err(self.refused("query the pending signals", nix::errno::Errno::last()))
        } else {
            Ok(count > 0)
        }
    }

    /// Returns its signal mask; the lowest bit is signal 1.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn signal_mask(&self) -> Result<u64, Error> {
        let mut mask = 0_u64;
        // SAFETY: PTRACE_GETSIGMASK (ptrace(2)) writes as many bytes to `data` as `addr` says: those of `mask`.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_GETSIGMASK, self.tid.as_raw(), size_of::<u64>(), &raw mut mask)
        };
        if result == -1 {
            Err(self.refused("read the signal mask", nix::errno::Errno::last()))
        } else {
            Ok(mask)
        }
    }

    /// Sets its signal mask.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn set_signal_mask(&self, mask: u64) -> Result<(), Error> {
        // SAFETY: PTRACE_SETSIGMASK reads as many bytes from `data` as `addr` says: those of `mask`.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_SETSIGMASK, self.tid.as_raw(), size_of::<u64>(), &raw const mask)
        };
        if result == -1 {
            Err(self.refused("set the signal mask", nix::errno::Errno::last()))
        } else {
            Ok(())
        }
    }

    /// Resumes it; `signal` (0 for none) is delivered if it is at a signal stop.
    ///
    /// A task killed in the meantime counts as running: waiting for it reports its death.
    ///
    /// # Errors
    /// If the kernel refuses for another reason.
    pub fn resume(self, how: Resume, signal: c_int) -> Result<Running, Error> {
        // SAFETY: these requests take no pointer; the data argument is the signal's number.
        let result = unsafe {
            libc::ptrace(
                how.request(),
                self.tid.as_raw(),
                std::ptr::null_mut::<libc::c_void>(),
                c_long::from(signal) as *mut libc::c_void,
            )
        };
        if result == -1 {
            let error = nix::errno::Errno::last();
            if error != nix::errno::Errno::ESRCH {
                return Err(self.refused("resume", error));
            }
        }
        Ok(Running { tid: self.tid })
    }

    /// Leaves it in a group stop, whose end will be reported.
    ///
    /// # Errors
    /// As for [`Self::resume`].
    pub fn listen(self) -> Result<Running, Error> {
        // SAFETY: the request takes no pointer.
        let result = unsafe { libc::ptrace(libc::PTRACE_LISTEN, self.tid.as_raw(), 0_usize, 0_usize) };
        match nix::errno::Errno::result(result) {
            Err(error) if error != nix::errno::Errno::ESRCH => Err(self.refused("leave stopped", error)),
            _ => Ok(Running { tid: self.tid }),
        }
    }

    pub(super) fn refused(&self, what: &str, error: nix::errno::Errno) -> Error {
        on_task(format!("{what} of thread {}", self.tid))(error.into())
    }
}

/// The result of a wait.
#[derive(Debug)]
pub enum Waited<T> {
    /// Something happened.
    Done(T),
    /// A signal (the wake-up timer) interrupted the wait, or nothing has happened yet.
    NotYet,
}

impl Running {
    pub(in crate::tracee) fn assume(tid: Pid) -> Self {
        Self { tid }
    }

    /// Takes charge of a task that runs and that nobody else has charge of, as the caller knows from elsewhere: it
    /// waits for its turn in the process, where it has got by itself.
    #[must_use]
    pub(crate) fn known_to_run(tid: Pid) -> Self {
        Self::assume(tid)
    }

    /// Returns its thread id.
    #[must_use]
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Asks it to stop soon, with [`Stop::Event`]. Does nothing if it is about to stop anyway, or dead.
    pub fn interrupt(&self) {
        interrupt(self.tid);
    }

    /// Waits until it stops or dies, or the wake-up timer interrupts.
    ///
    /// # Errors
    /// If the kernel refuses to wait for it.
    pub fn wait(&self) -> Result<Waited<WaitStatus>, Error> {
        Ok(match wait_pid(self.tid.as_raw(), 0)? {
            Waited::Done((_, wait)) => Waited::Done(wait),
            Waited::NotYet => Waited::NotYet,
        })
    }

    /// Waits despite interruptions, for a stop that is certain to come at once: the kernel alone is needed for it, not
    /// the program. Only a sleep that not even SIGKILL ends could delay it, and so the recorder's own end.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_soon(self) -> Result<WaitStatus, Error> {
        loop {
            if let Waited::Done(wait) = self.wait()? {
                return Ok(wait);
            }
        }
    }

    /// Waits for its end, to which it is on its way. It may have been reaped already.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn reap(self) -> Result<(), Error> {
        wait_for_end(self.tid, |stopped| stopped.resume(Resume::Freely, 0).map(drop))
    }

    /// Returns its stop or death if it has stopped or died by now.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn poll(&self) -> Result<Waited<WaitStatus>, Error> {
        Ok(match wait_pid(self.tid.as_raw(), libc::WNOHANG)? {
            Waited::Done((_, wait)) => Waited::Done(wait),
            Waited::NotYet => Waited::NotYet,
        })
    }
}

/// Asks a task to stop, as [`Running::interrupt`] does. Who has charge of it will find it stopped.
pub fn interrupt(tid: Pid) {
    // This can fail only if the task is gone or already stopping; the next wait shows that.
    let _ = ptrace::interrupt(tid);
}

/// Waits for the end of a task that is certain to come, wherever the task is: its process exits, or has been killed. It
/// may have been reaped already.
///
/// It may have stopped, and nobody has heard of that yet: where a group stop ends, a task stops once more. It stays
/// there, for the SIGKILL that is to come. If it went on, it would run beside the task that has the core.
///
/// # Errors
/// As [`Running::wait`].
pub fn reap(tid: Pid) -> Result<(), Error> {
    wait_for_end(tid, |_| Ok(()))
}

/// Waits until a task is dead. Its stops are given to `stops`.
fn wait_for_end(tid: Pid, stops: impl Fn(Stopped) -> Result<(), Error>) -> Result<(), Error> {
    loop {
        match wait_pid(tid.as_raw(), 0) {
            Ok(Waited::Done((_, WaitStatus::Dead(_)))) => return Ok(()),
            Ok(Waited::Done((_, WaitStatus::Stopped(stopped, _)))) => stops(stopped)?,
            Ok(Waited::NotYet) => {}
            Err(Error::Os { source, .. }) if source.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Waits until any task of the calling thread stops or dies.
///
/// # Errors
/// If there is no such task.
pub fn wait_any() -> Result<Waited<(Pid, WaitStatus)>, Error> {
    wait_pid(-1, 0)
}

/// Wait until any task of the calling thread that is in this process group stops or dies.
///
/// # Errors
/// If there is none.
pub fn wait_in_group(group: Pid) -> Result<Waited<(Pid, WaitStatus)>, Error> {
    wait_pid(-group.as_raw(), 0)
}

fn wait_pid(pid: pid_t, flags: c_int) -> Result<Waited<(Pid, WaitStatus)>, Error> {
    let mut status = 0;
    // __WNOTHREAD: several threads of the recorder may each have tasks of their own.
    // SAFETY: `status` is a valid place for an int.
    let got = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::__WNOTHREAD | flags) };
    match got {
        0 => Ok(Waited::NotYet),
        -1 => match std::io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EINTR) => Ok(Waited::NotYet),
            source => Err(Error::Os { what: format!("wait for thread {pid}"), source }),
        },
        tid => {
            let tid = Pid::from_raw(tid);
            Ok(Waited::Done((tid, decode(tid, status)?)))
        }
    }
}

fn decode(tid: Pid, status: c_int) -> Result<WaitStatus, Error> {
    if libc::WIFEXITED(status) {
        return Ok(WaitStatus::Dead(Death::Exited(libc::WEXITSTATUS(status))));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(WaitStatus::Dead(Death::Killed(libc::WTERMSIG(status))));
    }
    let message = || {
        ptrace::getevent(tid)
            .map(|raw| Pid::from_raw(raw as pid_t))
            .map_err(|e| on_task(format!("read the event of thread {tid}"))(e.into()))
    };
    let stop = match (status >> 16, libc::WSTOPSIG(status)) {
        (libc::PTRACE_EVENT_SECCOMP, _) => Stop::Seccomp,
        (libc::PTRACE_EVENT_CLONE, _) => Stop::Cloned(message()?),
        (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK, _) => Stop::Forked(message()?),
        (libc::PTRACE_EVENT_EXEC, _) => Stop::Executed,
        (0, signal) if signal == libc::SIGTRAP | 0x80 => Stop::SyscallExit,
        (0, signal) => Stop::Signal(signal),
        (libc::PTRACE_EVENT_STOP, signal) if signal != libc::SIGTRAP => Stop::Group(signal),
        _ => Stop::Event,
    };
    Ok(WaitStatus::Stopped(Stopped::assume(tid), stop))
}
