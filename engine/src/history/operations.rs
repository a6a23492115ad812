//! Each operation in some stretches of a run, with its place.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::width::width;
use super::{How, Operation, What};
use crate::carried::Carried;
use crate::error::Error;
use crate::failure::Frames;
use crate::replay::{Limit, Options, Report, Session, Why, needs_instructions};
use crate::task::TaskId;
use crate::trace::event::{Effect, Event};
use crate::trace::{Source, TraceError};

/// Replays a trace, and returns what the tasks did at the ticks of these stretches, which are in order and apart. They are
/// in the order in which they were done.
///
/// # Errors
/// If the trace is damaged or diverges.
pub fn operations(
    carried: &Carried<'_>,
    stretches: &[RangeInclusive<u64>],
    how: How<'_>,
) -> Result<Vec<Operation>, Error> {
    let How { core, stop, patience } = how;
    let mut silent = |_, _: &[u8]| {};
    let options = Options { core, stop, patience, watch: &[], output: &mut silent };
    let trace = carried.trace();
    let mut walk = Walk {
        session: Session::start(trace, options)?,
        events: trace.events_from(1),
        passed: 1,
        last: None,
        runs: TaskId(0),
        frames: Frames::new(carried),
        operations: Vec::new(),
        ahead: BTreeMap::new(),
    };
    for stretch in stretches {
        if !walk.go(stretch)? {
            break;
        }
    }
    let Walk { mut operations, ahead, .. } = walk;
    operations.extend(ahead.into_values());
    Ok(operations)
}

struct Walk<'c, 'a> {
    session: Session<'c>,
    /// The events that have not been followed, how many have, and the last one of these.
    events: Box<dyn Iterator<Item = Result<Event, TraceError>> + 'c>,
    passed: u64,
    last: Option<Event>,
    /// The task that has the core, as far as the events have been followed.
    runs: TaskId,
    frames: Frames<'c, 'a>,
    operations: Vec<Operation>,
    /// What tasks have come to and not done yet.
    ahead: BTreeMap<TaskId, Operation>,
}

impl Walk<'_, '_> {
    /// Goes through a stretch. False if the program has ended.
    fn go(&mut self, stretch: &RangeInclusive<u64>) -> Result<bool, Error> {
        let before = stretch.start().saturating_sub(1).saturating_sub(self.session.ticks());
        if before > 0 && self.session.step(Limit::Ticks(before))?.why == Why::Ended {
            return Ok(false);
        }
        self.follow()?;
        self.runs = self.session.state().current();
        // What was ahead has been done between the stretches.
        self.ahead.clear();
        while self.session.ticks() < *stretch.end() {
            let report = self.session.step(Limit::Ticks(1))?;
            self.follow()?;
            if report.why == Why::Ended {
                return Ok(false);
            }
            self.note(report)?;
        }
        Ok(true)
    }

    /// Goes through the events that have been carried out: who has the core, and what that means for what was ahead.
    fn follow(&mut self) -> Result<(), Error> {
        while self.passed < self.session.state().event() {
            let Some(event) = self.events.next().transpose()? else { break };
            self.passed += 1;
            let ahead = self.ahead.get_mut(&self.runs).map(|operation| &mut operation.what);
            match (&event, ahead) {
                // Who comes to a call and is not preempted there waits in it.
                (Event::Run { preempts, task, .. }, ahead) => {
                    if !preempts && matches!(ahead, Some(What::Call { .. })) {
                        self.operations.extend(self.ahead.remove(&self.runs));
                    }
                    self.runs = *task;
                }
                (Event::Syscall(call), Some(What::Call { number, result })) if *number == call.number => {
                    *result = Some(call.result);
                    self.has_run(self.runs);
                }
                // It stands in front of the same call.
                (Event::Patched(_) | Event::Entered(_) | Event::Parked(_), Some(What::Call { .. })) => {}
                (event, _) if needs_instructions(event) => {
                    self.has_run(self.runs);
                    self.returns(event);
                }
                _ => {}
            }
            self.last = Some(event);
        }
        Ok(())
    }

    /// The call has returned in which the running task has waited.
    fn returns(&mut self, event: &Event) {
        let Event::Syscall(call) = event else { return };
        let Some(last) = self.operations.iter_mut().rev().find(|it| it.task == self.runs) else { return };
        if let What::Call { number, result } = &mut last.what
            && *number == call.number
            && !last.is_done
        {
            *result = Some(call.result);
            last.is_done = true;
        }
    }

    /// This task has run, and so has done what it had come to.
    fn has_run(&mut self, task: TaskId) {
        let Some(mut operation) = self.ahead.remove(&task) else { return };
        if let What::Access { address, len: Some(len), value, .. } = &mut operation.what
            && let Ok(bytes) = self.session.read(task, *address, (*len).into())
        {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(&bytes);
            *value = Some(u64::from_le_bytes(word));
        }
        self.operations.push(Operation { is_done: true, ..operation });
    }

    /// A task has come to a tick.
    fn note(&mut self, report: Report) -> Result<(), Error> {
        let (task, runs) = (report.task, self.runs);
        let handed = runs != task && !report.between;
        if !report.between {
            self.has_run(runs);
        }
        let at_call = |number: Option<u64>| number.map(|number| (number, None));
        let call = match self.last.as_ref().filter(|_| report.between) {
            Some(Event::Syscall(call)) => {
                if matches!(call.effect, Effect::Executed(_)) {
                    // It is another program's code from now on.
                    self.frames.forget(&self.session, task);
                }
                Some((call.number, Some(call.result)))
            }
            Some(Event::Entered(_) | Event::Patched(_) | Event::Parked(_)) => {
                at_call(self.session.state().call(runs))
            }
            // A task that hands the core over waits for a futex.
            None if handed => at_call(Some(libc::SYS_futex as u64)),
            None if self.session.is_ahead() => {
                let registers = self.session.registers(task)?;
                at_call(registers.map(|registers| registers.result().cast_unsigned()))
            }
            Some(Event::Tick(_)) | None => None,
            // A tick without an operation of the program's own.
            Some(_) => return Ok(()),
        };
        self.runs = task;
        let frames = self.frames.of(&mut self.session, runs)?;
        let what = match (call, self.session.touched()) {
            (Some((number, result)), _) => What::Call { number, result },
            (None, Some((address, kind))) => {
                let session = &mut self.session;
                let len = session.registers(runs)?.and_then(|registers| {
                    width(&registers, address, |address, len| session.read(runs, address, len).ok())
                });
                What::Access { kind, address, len, value: None }
            }
            (None, None) => return Ok(()),
        };
        let (tick, moment) = (self.session.ticks(), self.session.position());
        let is_done = matches!(what, What::Call { result: Some(_), .. });
        let operation = Operation { task: runs, tick, moment, what, is_done, frames };
        if handed || is_done {
            self.operations.push(operation);
        } else {
            self.ahead.insert(runs, operation);
        }
        Ok(())
    }
}
