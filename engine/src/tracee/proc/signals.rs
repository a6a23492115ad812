//! A task's signal settings, and its pending signals.

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::on_task;

/// A set of signals; the lowest bit is signal 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Whether it contains a signal.
    #[must_use]
    pub fn has(self, signal: i32) -> bool {
        self.0 >> (signal - 1) & 1 == 1
    }

    /// Returns the signals in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the signals in `self` only.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Creates the set of these signals.
    #[must_use]
    pub const fn of(signals: &[i32]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < signals.len() {
            set |= 1 << (signals[i] - 1);
            i += 1;
        }
        Self(set)
    }
}

/// A task's signals (`/proc/PID/status`, proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Pending for the task.
    pub pending: SignalSet,
    /// Pending for its process.
    pub shared: SignalSet,
    /// Blocked.
    pub blocked: SignalSet,
    /// Ignored.
    pub ignored: SignalSet,
    /// Caught by handlers.
    pub caught: SignalSet,
}

/// Reads a task's signals.
///
/// # Errors
/// If the task is gone.
pub fn signals(tid: Pid) -> Result<Signals, Error> {
    let path = format!("/proc/{tid}/status");
    let status = std::fs::read_to_string(&path).map_err(on_task(format!("read {path}")))?;
    let set = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field)).map(str::trim);
        SignalSet(mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0))
    };
    Ok(Signals {
        pending: set("SigPnd:"),
        shared: set("ShdPnd:"),
        blocked: set("SigBlk:"),
        ignored: set("SigIgn:"),
        caught: set("SigCgt:"),
    })
}

/// Whether an instruction of the task itself has raised a signal.
///
/// The kernel raises faults with a positive code; kill(2) and the like send with another (sigaction(2)).
#[must_use]
pub fn is_fault(info: &libc::siginfo_t) -> bool {
    const FAULTS: SignalSet =
        SignalSet::of(&[libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP]);
    FAULTS.has(info.si_signo) && info.si_code > 0
}
