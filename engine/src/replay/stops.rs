//! What a step stops for before an event is there, and why it has stopped.

use std::collections::BTreeSet;

use crate::tracee::{DebugRegisters, Memory, Point};

/// How far to go. Breakpoints and watchpoints stop in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// To the end of the program.
    End,
    /// To the end of the next event.
    Event,
    /// To the end of the last event before the one of this number.
    To(u64),
    /// So many ticks, of whichever tasks. The task stands in front of what the last of them is about; if an event is,
    /// behind it.
    Ticks(u64),
    /// As [`Self::Ticks`], but not past the end of the next event that takes instructions.
    TicksWithin(u64),
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
    /// What is watched at this address was written, or read if that was asked for.
    Watchpoint(u64),
    /// The program has ended.
    Ended,
}

/// What is stopped for.
#[derive(Debug, Default)]
pub(super) struct Stops {
    /// Addresses in the program's code at which is stopped.
    pub(super) breakpoints: BTreeSet<u64>,
    /// What is watched.
    pub(super) watched: DebugRegisters,
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
    /// Whether the running task has executed anything since the last event.
    pub(super) has_run: bool,
}

impl Stops {
    /// Whether only events are stopped for.
    pub(super) fn are_none(&self) -> bool {
        self.breakpoints.is_empty() && self.watched.is_empty() && self.until.is_none() && !self.instruction
    }

    /// Stop for this. False if there is no debug register for it.
    pub(super) fn add(&mut self, point: Point) -> bool {
        if let Point::Execute(address) = point {
            self.breakpoints.insert(address);
            return true;
        }
        let added = self.watched.take(point).is_some();
        if added {
            self.values.push((point, None));
        }
        added
    }

    /// Do not stop for this any more. False if it was not stopped for.
    pub(super) fn remove(&mut self, point: Point) -> bool {
        if let Point::Execute(address) = point {
            return self.breakpoints.remove(&address);
        }
        if let Some(at) = self.values.iter().position(|(watched, _)| *watched == point) {
            self.values.remove(at);
        }
        self.watched.give_back(point)
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
    let (Point::Write { address, len } | Point::Access { address, len }) = point else { return None };
    let mut bytes = [0; 8];
    memory.read(address, bytes.get_mut(..len.into())?).ok()?;
    Some(u64::from_le_bytes(bytes))
}
