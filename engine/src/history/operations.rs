//! Each operation in some stretches of a run, with its place.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rrtest_preload::layout::AccessKind;

use super::{How, Operation, What};
use crate::carried::Carried;
use crate::ending::Frame;
use crate::error::Error;
use crate::failure::stack_of;
use crate::replay::{Limit, Options, Report, Session, Why};
use crate::symbols::Symbols;
use crate::task::TaskId;
use crate::trace::event::{Effect, Event};
use crate::trace::{Source, TraceError};

/// Replays a trace, and returns what the tasks did at the ticks of these stretches, which are in order and apart.
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
    let session = Session::start(trace, options)?;
    let events = Events { rest: trace.events_from(1), passed: 1, last: None };
    let mut walk = Walk {
        carried,
        session,
        events,
        symbols: BTreeMap::new(),
        operations: Vec::new(),
        ahead: BTreeMap::new(),
    };
    for stretch in stretches {
        // What was ahead has been done between the stretches.
        walk.ahead.clear();
        if !walk.go(stretch)? {
            break;
        }
    }
    let Walk { mut operations, ahead, .. } = walk;
    operations.extend(ahead.into_values());
    Ok(operations)
}

/// The events of a trace, as far as they have been carried out.
struct Events<'a> {
    rest: Box<dyn Iterator<Item = Result<Event, TraceError>> + 'a>,
    passed: u64,
    last: Option<Event>,
}

impl Events<'_> {
    /// So many have been carried out. Returns whether one of the new ones preempts a task.
    fn pass(&mut self, count: u64) -> Result<bool, Error> {
        let mut preempts = false;
        while self.passed < count {
            self.last = self.rest.next().transpose()?;
            self.passed += 1;
            preempts |= matches!(self.last, Some(Event::Run { preempts: true, .. }));
        }
        Ok(preempts)
    }
}

struct Walk<'c, 'a> {
    carried: &'c Carried<'a>,
    session: Session<'c>,
    events: Events<'c>,
    /// By address space.
    symbols: BTreeMap<usize, Symbols>,
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
        while self.session.ticks() < *stretch.end() {
            self.settle()?;
            let runs = self.session.state().current();
            let report = self.session.step(Limit::Ticks(1))?;
            if report.why == Why::Ended {
                return Ok(false);
            }
            self.has_run(runs);
            self.note(runs, report)?;
        }
        self.settle()?;
        Ok(true)
    }

    /// Goes to the next instruction. A task that has come to a call and is not preempted there waits in it.
    fn settle(&mut self) -> Result<(), Error> {
        let task = self.session.state().current();
        self.session.settle()?;
        let is_preempted = self.events.pass(self.session.state().event())?;
        if !is_preempted && self.ahead.get(&task).is_some_and(|it| matches!(it.what, What::Call { .. })) {
            self.operations.extend(self.ahead.remove(&task));
        }
        Ok(())
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
    fn note(&mut self, runs: TaskId, report: Report) -> Result<(), Error> {
        let task = self.session.state().current();
        self.events.pass(self.session.state().event())?;
        let last = self.events.last.as_ref().filter(|_| report.between);
        let handed = runs != task && !report.between;
        let call = match last {
            Some(Event::Syscall(call)) => {
                if matches!(call.effect, Effect::Executed(_)) {
                    // It is another program's code from now on.
                    self.symbols.remove(&self.session.state().space(task).unwrap_or_default());
                }
                Some((call.number, Some(call.result)))
            }
            Some(Event::Entered(position)) => Some((position.registers.number(), None)),
            // A task that hands the core over waits for a futex.
            Some(Event::Parked(_)) => Some((libc::SYS_futex as u64, None)),
            None if handed => Some((libc::SYS_futex as u64, None)),
            None if self.session.is_ahead() => {
                let registers = self.session.registers(task)?;
                registers.map(|registers| (registers.result().cast_unsigned(), None))
            }
            Some(Event::Tick(_)) | None => None,
            // A tick without an operation of the program's own.
            Some(_) => return Ok(()),
        };
        let frames = self.frames(runs)?;
        let what = match (call, self.session.touched()) {
            (Some((number, result)), _) => What::Call { number, result },
            (None, Some((address, kind))) => {
                What::Access { kind, address, len: width(&frames, kind), value: None }
            }
            (None, None) => return Ok(()),
        };
        let (tick, moment) = (self.session.ticks(), self.session.position());
        let operation = Operation { task: runs, tick, moment, what, is_done: false, frames };
        if handed || matches!(what, What::Call { result: Some(_), .. }) {
            self.operations.push(Operation { is_done: !handed, ..operation });
        } else {
            self.ahead.insert(runs, operation);
        }
        Ok(())
    }

    fn frames(&mut self, task: TaskId) -> Result<Vec<Frame>, Error> {
        let Some(space) = self.session.state().space(task) else { return Ok(Vec::new()) };
        if !self.symbols.contains_key(&space) {
            let mapped = self.session.mapped(task)?;
            self.symbols.insert(space, self.carried.symbols(&mapped)?);
        }
        let Some(symbols) = self.symbols.get_mut(&space) else { return Ok(Vec::new()) };
        let stack = stack_of(&mut self.session, task, symbols)?;
        Ok(self.carried.frames(symbols, &stack)?.concat())
    }
}

/// The size of an access in bytes, which the name of the entry point of the clock's runtime tells.
fn width(frames: &[Frame], kind: AccessKind) -> Option<u8> {
    let name = frames.iter().find_map(|frame| frame.function.as_ref()?.strip_prefix("__tsan_"))?;
    let digits: String =
        name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let number: u8 = digits.parse().ok()?;
    // Atomic operations are named by their bits, plain accesses by their bytes.
    let bytes = match kind {
        AccessKind::Load | AccessKind::Store => number,
        AccessKind::AtomicLoad | AccessKind::AtomicStore | AccessKind::AtomicUpdate => number / 8,
        AccessKind::Fence => return None,
    };
    (1..=8).contains(&bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_the_names_of_entry_points() {
        let frame = |name: &str| Frame { address: 1, function: Some(name.to_owned()), location: None };
        for (name, kind, bytes) in [
            ("__tsan_atomic32_load", AccessKind::AtomicLoad, Some(4)),
            ("__tsan_atomic8_compare_exchange_val", AccessKind::AtomicUpdate, Some(1)),
            ("__tsan_atomic128_load", AccessKind::AtomicLoad, None),
            ("__tsan_read8", AccessKind::Load, Some(8)),
            ("__tsan_unaligned_write2", AccessKind::Store, Some(2)),
            ("__tsan_vptr_read", AccessKind::Load, None),
            ("__tsan_atomic_thread_fence", AccessKind::Fence, None),
            ("main", AccessKind::Load, None),
        ] {
            assert_eq!(width(&[frame(name)], kind), bytes, "{name}");
        }
    }
}
