//! A system call of a task, and how far it has come.

use crate::syscalls::{self, Description, describe};
use crate::trace::event::{Effect, Registers, Write};

/// A system call of a task.
#[derive(Clone, Debug)]
pub(in crate::record) struct Call {
    /// The registers at its entry.
    pub(in crate::record) registers: Registers,
    pub(in crate::record) stage: Stage,
    /// Whether it changes a mapped file.
    pub(in crate::record) changes: bool,
    /// Whether the log says that the task has reached it.
    pub(in crate::record) entered: bool,
    /// When its wait ends, in ns of CLOCK_MONOTONIC. Set once it waits, if it has a time limit.
    pub(in crate::record) deadline: Option<u64>,
    /// Whether its wait has been extended beyond its time limit.
    pub(in crate::record) late: bool,
    /// When it stops asking for more than it has, on the same clock: that ends no wait (recvmmsg(2), `timeout`).
    pub(in crate::record) until: Option<u64>,
    /// The kernel's code for an interrupted call, set once it waits: it determines what comes after a handler.
    pub(in crate::record) restart: Option<i64>,
    /// What it leaves in memory if it is interrupted.
    pub(in crate::record) left: Vec<Write>,
    /// Amount transferred so far, in the unit of the result, if it waits for a complete transfer.
    pub(in crate::record) got: u64,
    /// Where its outputs go while it stays in the kernel.
    pub(in crate::record) redirected: Vec<Redirection>,
}

/// How far a call has come. It continues from there whenever its task gets the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Stage {
    /// Its task has reached it.
    Arrived,
    /// The kernel will make it, unless it has to wait, which is still to be checked.
    Due,
    /// Its descriptors are ready.
    Ready,
    /// Its own time limit is over.
    TimedOut,
    /// It blocks in the kernel.
    InKernel,
}

impl Call {
    pub(in crate::record) fn new(registers: Registers) -> Self {
        Self {
            registers,
            stage: Stage::Arrived,
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

    /// Whether it need not wait any longer.
    pub(in crate::record) fn has_waited(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::TimedOut | Stage::InKernel)
    }

    /// Whether it may wait, so that a signal may interrupt it.
    pub(in crate::record) fn may_wait(&self) -> bool {
        describe(self.number()).is_some_and(Description::may_wait)
    }
}

/// The outcome of a call.
#[derive(Debug)]
pub(in crate::record) struct Outcome {
    /// Its return value.
    pub(in crate::record) result: i64,
    /// What it has written into its task's memory.
    pub(in crate::record) writes: Vec<Write>,
    /// Its effect beside that.
    pub(in crate::record) effect: Effect,
}

impl Outcome {
    /// Creates the outcome of a call that returns `result` and has written `writes`.
    pub(in crate::record) fn new(result: i64, writes: Vec<Write>) -> Self {
        Self { result, writes, effect: Effect::None }
    }

    /// Creates the outcome of a call that returns `result` and does nothing else.
    pub(in crate::record) fn result(result: i64) -> Self {
        Self::new(result, Vec::new())
    }

    /// Creates the outcome of a call that fails.
    pub(in crate::record) fn fails(errno: i32) -> Self {
        Self::result(fails(errno))
    }

    /// Adds an effect.
    pub(in crate::record) fn with(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }
}

/// An output of a call that goes to scratch memory, because the call stays in the kernel while other tasks run.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Redirection {
    pub(in crate::record) argument: usize,
    pub(in crate::record) scratch: u64,
    pub(in crate::record) len: u64,
}

/// Codes with which the kernel ends calls that are to be restarted (linux/errno.h): unless a handler says otherwise
/// (`RESTARTSYS`), unless a handler runs at all (`RESTART_RESTARTBLOCK`, `RESTARTNOHAND`), or always (`RESTARTNOINTR`).
pub(in crate::record) mod restart {
    pub(crate) const RESTARTSYS: i64 = -512;
    pub(crate) const RESTARTNOINTR: i64 = -513;
    pub(crate) const RESTARTNOHAND: i64 = -514;
    pub(crate) const RESTART_RESTARTBLOCK: i64 = -516;
}

/// Whether a result means that a signal has interrupted the call: `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`
/// (linux/errno.h), which programs never see.
pub(in crate::record) fn interrupted(result: i64) -> bool {
    (-516..=-512).contains(&result)
}

/// Returns the signal that a call sends.
pub(in crate::record) fn signal_sent(call: &Call) -> Option<i32> {
    syscalls::signal_sent(call.number(), &call.args())
}

/// Returns the result of a call that fails with `errno`.
pub(in crate::record) const fn fails(errno: i32) -> i64 {
    -(errno as i64)
}
