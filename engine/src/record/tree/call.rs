//! A system call that a task makes, and how far it has come.

use crate::syscalls::{self, Description, describe};
use crate::trace::event::{Effect, Registers, Write};

/// A system call that a task makes.
#[derive(Clone, Debug)]
pub(in crate::record) struct Call {
    /// The registers at its entry.
    pub(in crate::record) registers: Registers,
    pub(in crate::record) stage: Stage,
    /// Whether it changes a file that is mapped.
    pub(in crate::record) changes: bool,
    /// Whether the log says that the task stands here.
    pub(in crate::record) entered: bool,
    /// When it stops waiting, in ns of CLOCK_MONOTONIC, once it has begun to and if it has a time limit.
    pub(in crate::record) deadline: Option<u64>,
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

/// How far a call has come. It goes on from there, whenever its task gets the core again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Stage {
    /// Its task has come to it.
    Arrived,
    /// It is the kernel's to make, unless it has to wait: that is still to be seen.
    Due,
    /// Its descriptors are ready.
    Ready,
    /// Its own time limit is over.
    TimedOut,
    /// It is in the kernel.
    Inside,
}

impl Call {
    pub(in crate::record) fn new(registers: Registers) -> Self {
        Self {
            registers,
            stage: Stage::Arrived,
            changes: false,
            entered: false,
            deadline: None,
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

    /// Whether it has been seen that it need not wait any longer.
    pub(in crate::record) fn has_waited(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::TimedOut | Stage::Inside)
    }

    /// Whether it may wait, and a signal may end that.
    pub(in crate::record) fn may_wait(&self) -> bool {
        describe(self.number()).is_some_and(Description::may_wait)
    }
}

/// What a call comes to.
#[derive(Debug)]
pub(in crate::record) struct Outcome {
    /// What it returns.
    pub(in crate::record) result: i64,
    /// What it has written into the memory of its task.
    pub(in crate::record) writes: Vec<Write>,
    /// What it does beside that.
    pub(in crate::record) effect: Effect,
}

impl Outcome {
    /// It returns this, and has written that.
    pub(in crate::record) fn new(result: i64, writes: Vec<Write>) -> Self {
        Self { result, writes, effect: Effect::None }
    }

    /// It returns this, and does nothing else.
    pub(in crate::record) fn result(result: i64) -> Self {
        Self::new(result, Vec::new())
    }

    /// It fails.
    pub(in crate::record) fn fails(errno: i32) -> Self {
        Self::result(fails(errno))
    }

    /// It does this as well.
    pub(in crate::record) fn with(self, effect: Effect) -> Self {
        Self { effect, ..self }
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
