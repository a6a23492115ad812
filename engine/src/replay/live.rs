//! What is alive in a replay: processes, the area that they share, the files that they map. Nothing here is known
//! from the trace.

use std::rc::Rc;

use nix::unistd::Pid;

use super::files::{Contents, Files};
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{Area, DebugRegisters, KillOnDrop, Memory, Running, Stopped, WakeUpTimer};

/// All that lives and that a replay has to itself.
pub(super) struct Live<'a> {
    pub(super) area: Area,
    pub(super) files: Files,
    pub(super) contents: Contents<'a>,
    /// By the numbers of the address spaces.
    pub(super) memories: Vec<Rc<Memory>>,
    /// By the numbers of the tasks.
    pub(super) handles: Vec<Handle>,
    pub(super) kill_on_drop: KillOnDrop,
    pub(super) _wake_up_timer: WakeUpTimer,
}

/// A task of ours, which is one of the kernel's.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) tid: Pid,
    /// Its process.
    pub(super) pid: Pid,
    /// None if it is being moved, or is no more.
    pub(super) held: Option<Held>,
    /// What its debug registers are used for.
    pub(super) debug: DebugRegisters,
}

/// How a task is held.
#[derive(Debug)]
pub(super) enum Held {
    Stopped(Stopped),
    /// It waits for its turn.
    Running(Running),
}

impl Handle {
    pub(super) fn new(task: Stopped, pid: Pid) -> Self {
        Self { tid: task.tid(), pid, held: Some(Held::Stopped(task)), debug: DebugRegisters::default() }
    }

    pub(super) fn take_stopped(&mut self) -> Option<Stopped> {
        match self.held.take() {
            Some(Held::Stopped(stopped)) => Some(stopped),
            other => {
                self.held = other;
                None
            }
        }
    }

    /// Have a stopped task stop for these points from now on.
    pub(super) fn watch(&mut self, task: &Stopped, points: &DebugRegisters) -> Result<(), Error> {
        self.debug.change(task, points)
    }
}

impl Live<'_> {
    pub(super) fn handle(&mut self, id: TaskId) -> &mut Handle {
        &mut self.handles[id.0 as usize]
    }
}
