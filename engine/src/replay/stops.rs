//! What a step stops for before an event is there, and why it has stopped.

use crate::error::Error;
use crate::tracee::{DebugRegisters, Memory, Point};

/// How far to go. Breakpoints and watchpoints stop in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// To the end of the program.
    End,
    /// To the end of the next event.
    Event,
    /// So many ticks, of whichever tasks. The task stands in front of what the last of them is about; if an event is,
    /// behind it.
    Ticks(u64),
    /// One instruction of the task that has the core. A system call is one, with all that the trace tells of it.
    Instruction,
}

/// Why a step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The event was carried out.
    Event,
    /// The ticks were made.
    Ticks,
    /// The instruction was executed.
    Instruction,
    /// The task has come to this address, at which there is a breakpoint.
    Breakpoint(u64),
    /// What is watched at this address was written.
    Watchpoint(u64),
    /// The program has ended.
    Ended,
}

/// How many debug registers are kept back, for stepping itself.
const KEPT: usize = 1;

/// What is stopped for.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// What has been asked for, at addresses of the program's.
    pub(super) points: DebugRegisters,
    /// What was last seen at those that are watched.
    values: Vec<(Point, Option<u64>)>,
    /// How many ticks there are in all when the step ends.
    pub(super) until: Option<u64>,
    /// Whether it ends with the next instruction.
    pub(super) instruction: bool,
    /// Where the running task stands, and whoever replays has been told so: a breakpoint there is no news.
    pub(super) told: Option<u64>,
    /// How many ticks have been told that are still to be counted: one, in front of a call that is made without a stop.
    pub(super) ahead: u64,
    /// What is to be told once the task stands where the program could.
    pub(super) pending: Option<Why>,
}

impl Stops {
    /// Whether only events are stopped for.
    pub(super) fn are_none(&self) -> bool {
        self.points.is_empty() && self.until.is_none() && !self.instruction
    }

    /// Stop for this. False if there is no debug register for it; `all` says whether those can be used that stepping
    /// needs.
    pub(super) fn add(&mut self, point: Point, all: bool) -> bool {
        let added = (all || self.points.free() > KEPT) && self.points.take(point).is_some();
        if added && let Point::Write { .. } = point {
            self.values.push((point, None));
        }
        added
    }

    /// Do not stop for this any more. False if it was not stopped for.
    pub(super) fn remove(&mut self, point: Point) -> bool {
        if let Some(at) = self.values.iter().position(|(watched, _)| *watched == point) {
            self.values.remove(at);
        }
        self.points.give_back(point)
    }

    /// Whether an event has written what is watched: debug registers do not see what the kernel writes, and what is
    /// written for it.
    pub(super) fn written(&mut self, memory: &Memory) -> Option<Why> {
        let mut why = None;
        for (point, last) in &mut self.values {
            let now = value(memory, *point);
            if last.is_some() && now.is_some() && now != *last {
                why = Some(Why::Watchpoint(point.address()));
            }
            *last = now;
        }
        why
    }

    /// The task has written this, which it was stopped for.
    pub(super) fn note(&mut self, memory: &Memory, point: Point) {
        for (_, last) in self.values.iter_mut().filter(|(watched, _)| *watched == point) {
            *last = value(memory, point);
        }
    }
}

fn value(memory: &Memory, point: Point) -> Option<u64> {
    let Point::Write { address, len } = point else { return None };
    let mut bytes = [0; 8];
    memory.read(address, bytes.get_mut(..len.into())?).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// There is no debug register for what a step needs itself.
pub(super) fn no_register() -> Error {
    crate::tracee::os("step through a replay")(std::io::Error::other("all debug registers are in use"))
}
