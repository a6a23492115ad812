//! A system call that a task makes, and how far it has come.

use crate::syscalls::{self, Description, describe};
use crate::trace::event::{Registers, Write};

/// A system call that a task makes.
#[derive(Clone, Debug)]
pub(in crate::record) struct Call {
    /// The registers at its entry.
    pub(in crate::record) registers: Registers,
    /// How far waiting for it has come.
    pub(in crate::record) wait: Waited,
    /// Whether it changes a file that is mapped.
    pub(in crate::record) changes: bool,
    /// Whether the log says that the task stands here.
    pub(in crate::record) entered: bool,
    /// When it stops waiting, in ns of CLOCK_MONOTONIC, once it has begun to and if it has a time limit.
    pub(in crate::record) deadline: Option<u64>,
    /// When it stops asking for more than it has, on the same clock: that ends no wait (recvmmsg(2), `timeout`).
    pub(in crate::record) until: Option<u64>,
    /// It goes on waiting beyond that.
    pub(in crate::record) late: bool,
    /// The kernel's code for a call that a signal interrupts, once it waits: it says what comes after a handler.
    pub(in crate::record) restart: Option<i64>,
    /// What it leaves in memory if it is interrupted.
    pub(in crate::record) left: Vec<Write>,
    /// How much it has of what it waits to have whole, in the unit of its result.
    pub(in crate::record) got: u64,
    /// Where its outputs go while it stays in the kernel.
    pub(in crate::record) redirected: Vec<Redirection>,
}

/// How far waiting for the descriptors of a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Waited {
    /// Not begun.
    No,
    /// They are ready.
    Ready,
    /// The call's own time limit is over.
    TimedOut,
    /// The call itself is in the kernel.
    Inside,
}

impl Call {
    pub(in crate::record) fn new(registers: Registers) -> Self {
        Self {
            registers,
            wait: Waited::No,
            changes: false,
            entered: false,
            deadline: None,
            until: None,
            late: false,
            restart: None,
            left: Vec::new(),
            got: 0,
            redirected: Vec::new(),
        }
    }

    pub(in crate::record) fn number(&self) -> u64 {
        self.registers.number()
    }

    pub(in crate::record) fn args(&self) -> [u64; 6] {
        self.registers.args()
    }

    /// Whether it may wait, and a signal may end that.
    pub(in crate::record) fn may_wait(&self) -> bool {
        describe(self.number()).is_some_and(Description::may_wait)
    }
}

/// An output of a call that goes to scratch memory, because the call stays in the kernel while others run.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Redirection {
    pub(in crate::record) argument: usize,
    pub(in crate::record) scratch: u64,
    pub(in crate::record) len: u64,
}

/// Codes with which the kernel ends calls that are to be restarted (linux/errno.h), unless a handler says otherwise
/// (`RESTARTSYS`), or is run at all (`RESTART_RESTARTBLOCK`, `RESTARTNOHAND`), or in any case (`RESTARTNOINTR`).
pub(in crate::record) mod restart {
    pub(crate) const RESTARTSYS: i64 = -512;
    pub(crate) const RESTARTNOINTR: i64 = -513;
    pub(crate) const RESTARTNOHAND: i64 = -514;
    pub(crate) const RESTART_RESTARTBLOCK: i64 = -516;
}

/// Whether a result says that a signal has interrupted the call: `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`
/// (linux/errno.h), which programs never see.
pub(in crate::record) fn interrupted(result: i64) -> bool {
    (-516..=-512).contains(&result)
}

/// The signal that a call sends.
pub(in crate::record) fn signal_sent(call: &Call) -> Option<i32> {
    syscalls::signal_sent(call.number(), &call.args())
}

/// A result that is an error.
pub(in crate::record) const fn fails(errno: i32) -> i64 {
    -(errno as i64)
}
