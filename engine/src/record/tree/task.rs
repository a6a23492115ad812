//! A recorded task, what it has, and what holds it.

use std::cell::Cell;
use std::rc::Rc;

use nix::unistd::Pid;

use super::call::Call;
use super::natively::Natively;
use super::spawned::Maker;
use crate::task::TaskId;
use crate::trace::event::{Position, Registers};
use crate::tracee::{Area, Memory, Running, Stopped};

/// An address space, shared by all tasks created with `CLONE_VM`.
#[derive(Debug)]
pub(in crate::record) struct Space {
    /// Its number, in order of creation.
    pub(in crate::record) number: u32,
    pub(in crate::record) memory: Memory,
    /// Whether the program is told that it is dumpable (`PR_SET_DUMPABLE`).
    pub(in crate::record) dumpable: Cell<bool>,
}

impl Space {
    /// Creates the address space of a program that is being executed.
    pub(in crate::record) fn new(number: u32, memory: Memory) -> Self {
        Self { number, memory, dumpable: Cell::new(true) }
    }
}

/// What a new task starts with.
#[derive(Debug)]
pub(in crate::record) struct Origin {
    pub(in crate::record) pid: Pid,
    pub(in crate::record) space: Rc<Space>,
    pub(in crate::record) name: String,
    pub(in crate::record) clear_tid: u64,
    pub(in crate::record) affinity: u64,
    pub(in crate::record) natively: Natively,
}

/// A task's settings for the signal of traps. If the task blocks or ignores it, the kernel resets that when it raises
/// the signal (`force_sig`), so it must be restored.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::record) struct Deaf {
    pub(in crate::record) blocks: bool,
    pub(in crate::record) ignores: bool,
}

/// A recorded task.
#[derive(Debug)]
pub(in crate::record) struct Task {
    pub(in crate::record) id: TaskId,
    pub(in crate::record) tid: Pid,
    /// Its process: the id of its thread group.
    pub(in crate::record) pid: Pid,
    pub(in crate::record) space: Rc<Space>,
    /// Its thread name.
    pub(in crate::record) name: String,
    hold: Hold,
    /// Its scratch memory; `None` if too many tasks live.
    pub(in crate::record) scratch: Option<u64>,
    /// Where the kernel writes a zero, and wakes a waiter, when the task ends (set_tid_address(2)); 0 for nowhere.
    pub(in crate::record) clear_tid: u64,
    /// The head of its list of robust futexes (set_robust_list(2)); 0 for none.
    pub(in crate::record) robust_list: u64,
    /// The cores that it is told it may use, a bit each.
    pub(in crate::record) affinity: u64,
    /// Its settings for the signal of traps, if there are any traps.
    pub(in crate::record) deaf: Deaf,
    /// What it is told where recording would show.
    pub(in crate::record) natively: Natively,
    /// Its position when it was last where replay can find it.
    pub(in crate::record) boundary: Position,
    /// Signals that arrived where replay could not find the place. They are sent again at the next boundary.
    pub(in crate::record) deferred: Vec<libc::siginfo_t>,
    /// Signals that have been sent again and have not arrived yet.
    pub(in crate::record) resent: Vec<libc::siginfo_t>,
    /// The call that it has reached, until the log says so.
    pub(in crate::record) arrived: Option<Registers>,
    /// For a thread, the stack of its creator.
    pub(in crate::record) maker: Option<Box<Maker>>,
}

impl Task {
    pub(in crate::record) fn new(
        id: TaskId,
        tid: Pid,
        hold: Hold,
        origin: Origin,
        scratch: Option<u64>,
        boundary: Position,
    ) -> Self {
        let Origin { pid, space, name, clear_tid, affinity, natively } = origin;
        Self {
            id,
            tid,
            pid,
            space,
            name,
            hold,
            scratch,
            clear_tid,
            robust_list: 0,
            affinity,
            deaf: Deaf::default(),
            natively,
            boundary,
            deferred: Vec::new(),
            resent: Vec::new(),
            arrived: None,
            maker: None,
        }
    }

    /// Returns the number of its slot in the shared area, if it has one.
    pub(in crate::record) fn slot(&self) -> Option<u32> {
        self.scratch.map(Area::slot)
    }

    /// Returns the registers with which it stopped, or made the call that it stands at. None if it runs, is parked, or is
    /// no more.
    pub(in crate::record) fn registers(&self) -> Option<Registers> {
        match &self.hold {
            Hold::Ready(stopped) | Hold::Lent(stopped, _) => stopped.registers().ok(),
            Hold::Calling(_, call)
            | Hold::Again(_, call)
            | Hold::Waiting(_, call)
            | Hold::Woken(_, call, _)
            | Hold::Returned(_, call)
            | Hold::InKernel(_, call) => Some(call.registers),
            Hold::Suspended(_, call) => call.as_ref().map(|call| call.registers),
            Hold::Parked(_) | Hold::Unparked(_) | Hold::Running | Hold::Gone => None,
        }
    }

    /// Returns what holds it.
    pub(in crate::record) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Sets what holds it, and returns what did. For [`Tasks`](super::tasks::Tasks) only, which knows its tasks by
    /// that.
    pub(super) fn set_hold(&mut self, hold: Hold) -> Hold {
        std::mem::replace(&mut self.hold, hold)
    }

    /// Returns the call at whose entry it stands, and has to wait or has waited.
    pub(in crate::record) fn at_entry(&mut self) -> Option<(&Stopped, &mut Call)> {
        match &mut self.hold {
            Hold::Calling(stopped, call) | Hold::Waiting(stopped, call) | Hold::Woken(stopped, call, _) => {
                Some((stopped, call))
            }
            _ => None,
        }
    }

    /// Returns the call that it is about to make, is in, or returns from.
    pub(in crate::record) fn call_mut(&mut self) -> Option<&mut Call> {
        match &mut self.hold {
            Hold::Calling(_, call)
            | Hold::Again(_, call)
            | Hold::Waiting(_, call)
            | Hold::Woken(_, call, _)
            | Hold::Returned(_, call)
            | Hold::InKernel(_, call)
            | Hold::Suspended(_, Some(call)) => Some(call),
            _ => None,
        }
    }
}

/// What holds a task.
#[derive(Debug)]
pub(in crate::record) enum Hold {
    /// Nothing: it goes on where it is.
    Ready(Stopped),
    /// It stands at the entry of a call that is still to be made.
    Calling(Stopped, Call),
    /// A stand-in for its call has ended; the call is to be made again.
    Again(Stopped, Call),
    /// It waits in the recorder, at the entry of an emulated call.
    Waiting(Stopped, Call),
    /// Its wait is over, with this result.
    Woken(Stopped, Call, i64),
    /// It waits for a futex, parked: another task can let it go on without a stop.
    Parked(Running),
    /// It is parked, and its wait is over.
    Unparked(Running),
    /// It waits in the kernel.
    InKernel(Running, Call),
    /// The call that it made in the kernel while others ran has ended.
    Returned(Stopped, Call),
    /// It has lent its memory to this new task, and waits until that executes a program or ends (vfork(2)).
    Lent(Stopped, TaskId),
    /// A signal has stopped its process. When continued, it goes on or makes this call.
    Suspended(Running, Option<Call>),
    /// It has the core.
    Running,
    /// It has ended.
    Gone,
}

impl Hold {
    /// Whether the task is parked.
    pub(in crate::record) fn parked(&self) -> bool {
        matches!(self, Self::Parked(_) | Self::Unparked(_))
    }

    /// Whether the task is runnable.
    pub(in crate::record) fn runnable(&self) -> bool {
        matches!(
            self,
            Self::Ready(_)
                | Self::Calling(..)
                | Self::Again(..)
                | Self::Woken(..)
                | Self::Unparked(_)
                | Self::Returned(..)
        )
    }
}
