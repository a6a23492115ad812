//! Comparing a replay with its recording, and saying what differs.

use std::fmt::Write as _;

use rrtest_preload::layout::{SYS_READ, SYS_TICK};

use super::place;
use super::step::Step;
use crate::error::{Divergence, Error};
use crate::task::TaskId;
use crate::trace::event::Position;
use crate::tracee::{Registers, Stop};

impl Step<'_, '_> {
    /// A task must be where the recorded one was, and have made the calls that it made.
    pub(super) fn check(&mut self, expected: &Position, registers: &Registers) -> Result<(), Error> {
        let found = Position::of(self.live.area.countdown(), registers);
        if !self.log_is_taken() {
            return Err(self.differs("calls that do not stop".into(), found.to_string()));
        }
        let _ = self.live.area.give_log(&[]);
        self.state.log.len = 0;
        if found == *expected {
            return Ok(());
        }
        let (mut recorded, mut replayed) = (expected.to_string(), found.to_string());
        let others = |(name, ..): &(&str, u64, u64)| !matches!(*name, "rip" | "rsp");
        for (name, here, there) in expected.registers.differences(&found.registers).filter(others) {
            let _ = write!(recorded, ", {name} {here:#x}");
            let _ = write!(replayed, ", {name} {there:#x}");
        }
        let _ = write!(replayed, "; there is {}", self.place(found.registers.ip()));
        Err(self.differs(recorded, replayed))
    }

    /// Whether the buffer has taken all that it was given.
    pub(super) fn log_is_taken(&self) -> bool {
        self.live.area.cursor() == self.state.log.len
    }

    pub(super) fn found(&self, stop: Stop, registers: &Registers) -> String {
        let what = match stop {
            Stop::Seccomp if registers.number() == SYS_TICK as u64 => "the end of the timeslice".to_owned(),
            Stop::Seccomp if registers.number() == SYS_READ as u64 => self.unlogged_read(registers),
            Stop::Seccomp => format!("system call {}", crate::syscalls::name(registers.number())),
            Stop::Signal(signal) => format!("signal {signal} by {}", self.place(registers.ip())),
            other => format!("{other:?}"),
        };
        format!("{what} at {:#x}, {} ticks left", registers.ip(), self.live.area.countdown())
    }

    /// The instruction at an address, and where that is.
    fn place(&self, ip: u64) -> String {
        let tid = self.live.handles[self.state.current.0 as usize].tid;
        place::describe(tid, &self.memory(), ip)
    }

    /// The running task does something else than it did.
    pub(super) fn differs(&self, expected: String, found: String) -> Error {
        let task = self.state.current;
        let name = self.state.running().name.clone();
        Error::Diverged(Box::new(Divergence { event: self.state.event, task, name, expected, found }))
    }

    /// The trace asks for what cannot be: it is not one that our recorder wrote.
    pub(super) fn misplaced(&self, expected: &str, found: &str) -> Error {
        misplaced(self.state.event, expected, found)
    }
}

pub(super) fn misplaced(event: u64, expected: &str, found: &str) -> Error {
    Error::Diverged(Box::new(Divergence {
        event,
        task: TaskId(0),
        name: String::new(),
        expected: expected.into(),
        found: found.into(),
    }))
}
