//! What a replay knows from the trace alone. A copy is the state of that moment; what is alive ([`super::live`]) is
//! apart from it.

use std::collections::VecDeque;
use std::rc::Rc;

use rrtest_preload::layout::HandOver;

use crate::clock::Count;
use crate::ending::Stats;
use crate::task::TaskId;
use crate::trace::event::Image;
use crate::tracee::{Originals, Registers};

/// The state of a replay at a moment.
#[derive(Clone, Debug)]
pub struct State {
    /// The number of the event at hand, or of the next one.
    pub(super) event: u64,
    /// How many ticks there had been at the last event.
    pub(super) ticks_at_event: u64,
    /// The task that has the core.
    pub(super) current: TaskId,
    pub(super) tasks: Vec<Task>,
    /// By their numbers ([`Task::space`]).
    pub(super) spaces: Vec<Space>,
    pub(super) count: Count,
    pub(super) stats: Stats,
    pub(super) log: Log,
    /// What the program exits with, once it has said so.
    pub(super) exit_code: Option<i32>,
    /// The signal that kills the program, once it has come.
    pub(super) killed_by: Option<i32>,
    /// A task whose process, not the first one, a signal has killed. What is written to its memory comes before its
    /// end.
    pub(super) dying: Option<TaskId>,
}

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) name: String,
    /// The number of the first task of its process.
    pub(super) process: TaskId,
    /// Its address space.
    pub(super) space: usize,
    pub(super) at: At,
    /// The slot in which it last waited for its turn.
    pub(super) slot: Option<u32>,
}

/// Where a task is.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as threads, and a box would be one more hop"
)]
pub(super) enum At {
    /// It goes on where it is.
    Ready,
    /// It stands at the entry of a call, with these registers.
    Calling(Registers),
    /// It stands at the entry of a call that the kernel makes when the task goes on.
    Repeating,
    /// It waits for its turn in the slot of this number.
    Parked(u32),
    /// It is no more.
    Gone,
}

/// An address space.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// The program break, once known.
    pub(super) brk: Option<u64>,
    /// The code that leads into the system-call buffer.
    pub(super) originals: Rc<Originals>,
    /// The program that it was made for: its path, and where its stack began.
    pub(super) program: Rc<str>,
    pub(super) stack: u64,
}

/// What the system-call buffer has been given to take.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Bytes.
    pub(super) len: u64,
    /// The hand-overs that it tells of and that have not been done, each with the end of its entry.
    pub(super) hand_overs: VecDeque<(u64, HandOver)>,
}

impl Space {
    /// That of a program that has just been started.
    pub(super) fn of(image: &Image) -> Self {
        Self { program: image.program.as_str().into(), stack: image.registers.sp(), ..Self::default() }
    }
}

impl State {
    /// That of a program that has just been started: its first event is done.
    pub(super) fn started(name: String, space: Space) -> Self {
        let (process, at) = (TaskId(0), At::Ready);
        Self {
            event: 1,
            ticks_at_event: 0,
            current: TaskId(0),
            tasks: vec![Task { name, process, space: 0, at, slot: None }],
            spaces: vec![space],
            count: Count::default(),
            stats: Stats { tasks: 1, ..Stats::default() },
            log: Log::default(),
            exit_code: None,
            killed_by: None,
            dying: None,
        }
    }

    /// How many events have been carried out: the number of the next one.
    #[must_use]
    pub fn event(&self) -> u64 {
        self.event
    }

    /// The task that has the core.
    #[must_use]
    pub fn current(&self) -> TaskId {
        self.current
    }

    /// The living tasks, with their thread names.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &str)> {
        let living = self.tasks.iter().enumerate().filter(|(_, task)| !matches!(task.at, At::Gone));
        living.map(|(id, task)| (TaskId(id as u32), task.name.as_str()))
    }

    /// The address space of a task, by a number.
    #[must_use]
    pub fn space(&self, task: TaskId) -> Option<usize> {
        self.tasks.get(task.0 as usize).map(|task| task.space)
    }

    /// The number of the system call at whose entry a task stands, if it stands at one. Whether it waits there or has yet
    /// to make the call is not told.
    #[must_use]
    pub fn call(&self, task: TaskId) -> Option<u64> {
        match &self.tasks.get(task.0 as usize)?.at {
            At::Calling(registers) => Some(registers.number()),
            At::Parked(_) => Some(libc::SYS_futex as u64),
            At::Ready | At::Repeating | At::Gone => None,
        }
    }

    /// The process of a task: the number of its first task.
    #[must_use]
    pub fn process(&self, task: TaskId) -> Option<TaskId> {
        self.tasks.get(task.0 as usize).map(|task| task.process)
    }

    /// The path of the program that a task's process executes, and the stack pointer with which that began (System V
    /// ABI, AMD64 supplement, figure 3.9, says what is there).
    #[must_use]
    pub fn program(&self, task: TaskId) -> Option<(&str, u64)> {
        let space = self.spaces.get(self.space(task)?)?;
        Some((&space.program, space.stack))
    }

    /// What has been counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The task that has the core.
    pub(super) fn running(&self) -> &Task {
        &self.tasks[self.current.0 as usize]
    }

    pub(super) fn running_mut(&mut self) -> &mut Task {
        &mut self.tasks[self.current.0 as usize]
    }

    /// Whether a task is of the program's first process.
    #[must_use]
    pub fn is_of_first(&self, task: TaskId) -> bool {
        self.tasks.get(task.0 as usize).is_some_and(|task| task.process == self.tasks[0].process)
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready => f.write_str("one that runs"),
            Self::Calling(_) => f.write_str("one that stands at a call"),
            Self::Repeating => f.write_str("one that makes a call"),
            Self::Parked(slot) => write!(f, "one that waits for its turn in slot {slot}"),
            Self::Gone => f.write_str("one that has ended"),
        }
    }
}
