//! Functions that gdb has the program call, as for `print vec.len()`.
//!
//! gdb calls a function by writing registers and memory and going on until it returns, and then writes the registers back.
//! The past stays as it was: what gdb writes goes to another replay that stands at the same moment, and that is thrown away
//! once the registers are as they were.

use gdbstub::common::Signal;
use gdbstub::stub::MultiThreadStopReason;

use super::debugger::Debugger;
use super::signals;
use super::state::action::Action;
use super::state::registers::Number;
use super::state::threads::tid;
use crate::error::Error;
use crate::replay::{Came, Diverted};
use crate::syscalls;
use crate::task::TaskId;
use crate::tracee::Registers;

/// A replay in which gdb has written.
#[derive(Debug)]
pub(super) struct Call<'a> {
    diverted: Diverted<'a>,
    /// The task that makes the call.
    pub(super) task: TaskId,
    /// Its registers before.
    before: Registers,
    /// Whether it has gone on.
    has_run: bool,
}

/// What gdb is told when what it has written is given up.
const DROPPED: &str = "rrtest: what was written is dropped: what has happened cannot be changed\n";

impl<'a> Debugger<'a> {
    /// Returns the replay in which gdb has written, for a task of it; one is begun if there is none. None if there is no
    /// such task.
    fn call_of(&mut self, task: TaskId) -> Result<Option<&mut Call<'a>>, Error> {
        if self.call.as_ref().is_none_or(|call| call.task != task) {
            let Some(before) = self.timeline.registers(task)? else { return Ok(None) };
            let diverted = self.timeline.another()?.divert(task)?;
            self.call = diverted.map(|diverted| Call { diverted, task, before, has_run: false });
        }
        Ok(self.call.as_mut())
    }

    /// Returns a task's registers as gdb sees them.
    pub(super) fn registers_of(&mut self, task: TaskId) -> Result<Option<Registers>, Error> {
        match self.call.as_ref().filter(|call| call.task == task) {
            Some(call) => call.diverted.registers(),
            None => self.timeline.registers(task),
        }
    }

    /// Returns the value of a register as gdb sees it.
    pub(super) fn value(&mut self, task: TaskId, number: Number) -> Result<Option<Vec<u8>>, Error> {
        if !number.is_vector() {
            return Ok(self.registers_of(task)?.map(|registers| number.general(&registers)));
        }
        let registers = match self.call.as_ref().filter(|call| call.task == task) {
            Some(call) => call.diverted.vector_registers()?,
            None => self.timeline.vector_registers(task)?,
        };
        Ok(registers.and_then(|registers| number.vector(&registers)))
    }

    /// Gives a task's registers other values. False if there is no such task.
    pub(super) fn set_registers_of(&mut self, task: TaskId, registers: &Registers) -> Result<bool, Error> {
        if self.registers_of(task)?.as_ref() == Some(registers) {
            return Ok(true);
        }
        let Some(call) = self.call_of(task)? else { return Ok(false) };
        call.diverted.set_registers(registers)?;
        if call.has_run && *registers == call.before {
            self.call = None;
        }
        Ok(true)
    }

    /// Gives a register another value. False if that cannot be done.
    pub(super) fn set_value(&mut self, task: TaskId, number: Number, value: &[u8]) -> Result<bool, Error> {
        if self.value(task, number)?.as_deref() == Some(value) {
            return Ok(true);
        }
        if !number.is_vector() {
            let Some(mut registers) = self.registers_of(task)? else { return Ok(false) };
            return Ok(number.set_general(&mut registers, value) && self.set_registers_of(task, &registers)?);
        }
        let (Some(xmm), Ok(value)) = (number.xmm(), value.try_into()) else { return Ok(false) };
        let Some(call) = self.call_of(task)? else { return Ok(false) };
        call.diverted.set_xmm(xmm, value)?;
        Ok(true)
    }

    /// Reads memory as gdb sees it.
    pub(super) fn bytes(&self, task: TaskId, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        match &self.call {
            Some(call) => call.diverted.read(address, len),
            None => self.timeline.read(task, address, len),
        }
    }

    /// Writes memory. False if it is not mapped, or there is no such task.
    pub(super) fn set_bytes(&mut self, task: TaskId, address: u64, bytes: &[u8]) -> Result<bool, Error> {
        if self.bytes(task, address, bytes.len()).is_ok_and(|now| now == bytes) {
            return Ok(true);
        }
        let task = self.call.as_ref().map_or(task, |call| call.task);
        let Some(call) = self.call_of(task)? else { return Ok(false) };
        Ok(call.diverted.write(address, bytes).is_ok())
    }

    /// Goes on in the replay in which gdb has written, if it has a function called. What it has written otherwise is
    /// dropped, and nothing is returned.
    pub(super) fn go_on_in_call(
        &mut self,
        action: &Action,
    ) -> Result<Option<MultiThreadStopReason<u64>>, Error> {
        let Some(mut call) = self.call.take() else { return Ok(None) };
        let steps = match action {
            Action::Run => false,
            Action::Step(_) | Action::StepWithin(..) => true,
            Action::RunBack | Action::StepBack => return Ok(self.drop_call()),
        };
        let is_called = call.diverted.registers()?.is_some_and(|now| now.ip() != call.before.ip());
        if !call.has_run && !is_called {
            return Ok(self.drop_call());
        }
        call.has_run = true;
        let breakpoints: Vec<u64> =
            self.set.asked(self.process).breakpoints.iter().map(|breakpoint| breakpoint.address).collect();
        let came = call.diverted.run(&breakpoints, steps)?;
        self.said.extend(call.diverted.take_output());
        let tid = tid(call.task);
        let with = |signal| MultiThreadStopReason::SignalWithThread { tid, signal };
        let mut say = |text: String| self.said.extend(text.into_bytes());
        let reason = match came {
            Came::Breakpoint(_) => MultiThreadStopReason::SwBreak(tid),
            Came::Stepped => with(Signal::SIGTRAP),
            Came::Interrupted => {
                self.timeline.go_on();
                with(Signal::SIGINT)
            }
            Came::Waits(number) => {
                let name = syscalls::describe(number).map_or("a call", |call| call.name());
                say(format!("rrtest: the function waits in {name} for others, which stand still\n"));
                with(Signal::SIGINT)
            }
            Came::Signal(number) => with(signals::number(number)),
            Came::Ended => {
                say("rrtest: the function has ended the program; this is the moment before it was called\n"
                    .to_owned());
                return Ok(Some(with(Signal::SIGINT)));
            }
        };
        self.call = Some(call);
        Ok(Some(reason))
    }

    fn drop_call(&mut self) -> Option<MultiThreadStopReason<u64>> {
        self.said.extend(DROPPED.bytes());
        None
    }
}
