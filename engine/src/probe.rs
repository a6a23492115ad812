//! Finds out what this machine allows, by trying instead of guessing from versions.

use std::env::current_exe;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::tracee::status_field;

/// What a machine offers a recorder.
#[derive(Debug)]
pub struct Machine {
    /// The kernel's release, as uname(2) has it.
    pub kernel: String,
    /// Whether a parent can trace its child, ptrace(2).
    pub ptrace: io::Result<()>,
    /// Whether a process can filter its system calls and have a tracer decide (`SECCOMP_RET_TRACE`), seccomp(2).
    pub seccomp: io::Result<()>,
    /// Whether the processor's counters can be read, perf_event_open(2).
    pub counters: io::Result<()>,
    /// `kernel.yama.ptrace_scope`, where the Yama security module is in use: at 2 only administrators trace, at 3
    /// nobody.
    pub ptrace_scope: Option<i32>,
    /// `kernel.perf_event_paranoid`: above 2, some kernels give no counters to users.
    pub perf_event_paranoid: Option<i32>,
    /// The seccomp mode of this process (`Seccomp:` in proc(5)): 0 without a filter, 2 with one, as in most containers.
    pub seccomp_mode: Option<i32>,
    /// Whether this process can no longer gain privileges (`NoNewPrivs:` in proc(5)).
    pub no_new_privs: Option<i32>,
}

/// Probes this machine. Starts a few short-lived children.
#[must_use]
pub fn machine() -> Machine {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    Machine {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        ptrace: try_ptrace(),
        seccomp: try_seccomp(),
        counters: try_counters(),
        ptrace_scope: number("/proc/sys/kernel/yama/ptrace_scope"),
        perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
        seccomp_mode: own_status("Seccomp:"),
        no_new_privs: own_status("NoNewPrivs:"),
    }
}

/// A number that proc_pid_status(5) has of ourselves.
fn own_status(field: &str) -> Option<i32> {
    status_field(Pid::this(), field)?.parse().ok()
}

/// Starts this program again, traced. execve(2) stops such a child at its first instruction, where it is killed.
fn try_ptrace() -> io::Result<()> {
    let mut command = quiet()?;
    // SAFETY: ptrace(2) is a bare system call; the closure neither allocates nor takes a lock after the fork.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let mut child = command.spawn()?;
    let stopped = waitpid(Pid::from_raw(child.id().cast_signed()), None);
    // It may have ended already: then there is nothing to kill.
    let _killed = child.kill();
    child.wait()?;
    match stopped? {
        WaitStatus::Stopped(..) => Ok(()),
        other => Err(io::Error::other(format!("the traced child did not stop, but: {other:?}"))),
    }
}

/// Installs a filter in a child that allows everything, and checks that `SECCOMP_RET_TRACE` is known. The child never
/// executes a program: it reports its result as the error of its start.
fn try_seccomp() -> io::Result<()> {
    const DONE: i32 = libc::ECANCELED;
    let mut command = quiet()?;
    let install = || {
        let mut allow = libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        let program = libc::sock_fprog { len: 1, filter: &raw mut allow };
        let trace = libc::SECCOMP_RET_TRACE;
        // SAFETY: bare system calls on values of this stack frame, which outlive them; nothing is allocated or locked.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const trace) == 0
                && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0
        };
        Err(if done { io::Error::from_raw_os_error(DONE) } else { io::Error::last_os_error() })
    };
    // SAFETY: see `install`.
    unsafe { command.pre_exec(install) };
    match command.spawn() {
        Err(error) if error.raw_os_error() == Some(DONE) => Ok(()),
        Err(error) => Err(error),
        Ok(mut child) => {
            child.kill()?;
            child.wait()?;
            Err(io::Error::other("the child became a program, which it must not"))
        }
    }
}

fn try_counters() -> io::Result<()> {
    let mut counter =
        perf_event::Builder::new().kind(perf_event::events::Hardware::BRANCH_INSTRUCTIONS).build()?;
    counter.enable()?;
    match counter.read()? {
        0 => Err(io::Error::other("the counter opens, but stands still")),
        _ => Ok(()),
    }
}

fn quiet() -> io::Result<Command> {
    let mut command = Command::new(current_exe()?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_probed_without_a_trace_of_it() {
        let machine = machine();
        assert!(!machine.kernel.is_empty());
        // The tests of this crate record programs, so both must be allowed where they run.
        machine.ptrace.expect("ptrace");
        machine.seccomp.expect("seccomp");
        assert_eq!(own_status("Seccomp:"), machine.seccomp_mode, "the filter was the child's");
    }
}
