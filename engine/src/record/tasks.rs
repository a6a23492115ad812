//! The recorded tasks and what holds each.

use std::cell::Cell;
use std::rc::Rc;

use nix::unistd::Pid;

use crate::task::TaskId;
use crate::trace::event::{Position, Registers, Write};
use crate::tracee::{Memory, Running, Stopped};

/// An address space, which all tasks have that were made with `CLONE_VM`.
#[derive(Debug)]
pub(super) struct Space {
    /// Its number, in order of creation.
    pub(super) number: u32,
    pub(super) memory: Memory,
    /// Whether the program is told that it can be dumped (`PR_SET_DUMPABLE`).
    pub(super) dumpable: Cell<bool>,
}

impl Space {
    /// That of a program that is being executed.
    pub(super) fn new(number: u32, memory: Memory) -> Self {
        Self { number, memory, dumpable: Cell::new(true) }
    }
}

/// What a new task starts with.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) pid: Pid,
    pub(super) space: Rc<Space>,
    pub(super) name: String,
    pub(super) clear_tid: u64,
    pub(super) affinity: u64,
}

/// A recorded task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) tid: Pid,
    /// Its process: the id of its thread group.
    pub(super) pid: Pid,
    pub(super) space: Rc<Space>,
    /// Its thread name.
    pub(super) name: String,
    pub(super) hold: Hold,
    /// Its scratch memory; none if too many tasks live.
    pub(super) scratch: Option<u64>,
    /// Where the kernel writes a zero, and wakes a waiter, when the task ends (set_tid_address(2)); 0 for nowhere.
    pub(super) clear_tid: u64,
    /// The head of its robust futexes (set_robust_list(2)); 0 for none.
    pub(super) robust_list: u64,
    /// The cores that it is told it may use, a bit each.
    pub(super) affinity: u64,
    /// Where it was when it was last at a point that replay can find.
    pub(super) boundary: Position,
    /// Signals that arrived where replay could not find the place; they are sent again at the next boundary.
    pub(super) deferred: Vec<libc::siginfo_t>,
    /// Those that have been sent again and have not arrived yet.
    pub(super) resent: Vec<libc::siginfo_t>,
    /// The call that it has come to, as long as the log does not tell of it.
    pub(super) arrived: Option<Registers>,
}

/// What holds a task.
#[derive(Debug)]
pub(super) enum Hold {
    /// Nothing: it goes on where it is.
    Ready(Stopped),
    /// It stands at the entry of a call that is still to be made.
    Calling(Stopped, Call),
    /// A stand-in for its call has ended: the call is to be made again.
    Again(Stopped, Call),
    /// It waits for the scheduler, at the entry of an emulated call.
    Waiting(Stopped, Call),
    /// Its wait is over, with this result.
    Woken(Stopped, Call, i64),
    /// It waits in the kernel.
    InKernel(Running, Call),
    /// The call that it made in the kernel, while others ran, has ended.
    Returned(Stopped, Call),
    /// It has lent its memory to this new task, and waits until that executes a program or ends (vfork(2)).
    Lent(Stopped, TaskId),
    /// A signal has stopped its process; after that it goes on, or makes this call.
    Suspended(Running, Option<Call>),
    /// It has the core.
    Running,
    /// It is no more.
    Gone,
}

impl Hold {
    /// Whether the task could have the core.
    pub(super) fn runnable(&self) -> bool {
        matches!(
            self,
            Self::Ready(_) | Self::Calling(..) | Self::Again(..) | Self::Woken(..) | Self::Returned(..)
        )
    }
}

/// A system call that a task makes.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The registers at its entry.
    pub(super) registers: Registers,
    /// How far waiting for it has come.
    pub(super) wait: Waited,
    /// Whether it changes a file that is mapped.
    pub(super) changes: bool,
    /// Whether the log says that the task stands here.
    pub(super) entered: bool,
    /// When it stops waiting, in ns of CLOCK_MONOTONIC, once it has begun to and if it has a time limit.
    pub(super) deadline: Option<u64>,
    /// The kernel's code for a call that a signal interrupts, once it waits: it says what comes after a handler.
    pub(super) restart: Option<i64>,
    /// What it leaves in memory if it is interrupted.
    pub(super) left: Vec<Write>,
    /// How much it has of what it waits to have whole, in the unit of its result.
    pub(super) got: u64,
}

/// How far waiting for the descriptors of a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
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
    pub(super) fn new(registers: Registers) -> Self {
        Self {
            registers,
            wait: Waited::No,
            changes: false,
            entered: false,
            deadline: None,
            restart: None,
            left: Vec::new(),
            got: 0,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.registers.number()
    }

    pub(super) fn args(&self) -> [u64; 6] {
        self.registers.args()
    }
}
