//! Who had the core when: the whole run, event by event.

use std::collections::BTreeMap;

use super::{At, Call, History, How, Lost, Signal, Thread, Turn};
use crate::error::Error;
use crate::output::Output;
use crate::replay::{Limit, Options, Session, Why, needs_instructions};
use crate::task::TaskId;
use crate::trace::Source;
use crate::trace::event::{Effect, Event, Stream};
use crate::tracee::buffered_calls;

/// Replays a trace, and returns what happened. Calls go into the order of the core's turns.
///
/// # Errors
/// If the trace is damaged or diverges.
pub fn turns(trace: &dyn Source, how: How<'_>) -> Result<History, Error> {
    let mut output = Output::default();
    let mut print = |stream: Stream, bytes: &[u8]| output.push(stream, bytes);
    let How { core, stop, patience } = how;
    let options = Options { core, stop, patience, watch: &[], output: &mut print };
    let mut session = Session::start(trace, options)?;
    let mut walk = Walk::default();
    // The program's image is carried out already.
    walk.history.events.push(At::default());
    walk.note_threads(&session);
    for event in trace.events_from(1) {
        let event = event?;
        let before = Before::of(&session);
        let report = session.step(Limit::Event)?;
        walk.pass(&session, &event, before);
        if report.why == Why::Ended {
            break;
        }
    }
    drop(session);
    let mut history = walk.finish();
    history.output = output;
    Ok(history)
}

/// What is known of the running task before an event.
struct Before {
    task: TaskId,
    call: Option<u64>,
}

impl Before {
    fn of(session: &Session<'_>) -> Self {
        let task = session.state().current();
        Self { task, call: session.state().call(task) }
    }
}

/// A timeslice: when it began, and its countdown then.
#[derive(Clone, Copy, Default)]
struct Slice {
    began: u64,
    countdown: u64,
}

/// A call that was made without a stop, and to whom the core was handed over by it.
struct Unplaced {
    number: u64,
    result: i64,
    /// The other task, its timeslice, and what was left of this one's.
    handed: Option<(TaskId, u64, u32)>,
}

#[derive(Default)]
struct Walk {
    history: History,
    threads: BTreeMap<TaskId, Thread>,
    slice: Slice,
    /// The task that has the core, and since when.
    current: TaskId,
    since: At,
    /// Now.
    at: At,
    /// Calls on the way to the next stop.
    unplaced: Vec<Unplaced>,
}

impl Walk {
    /// An event has been carried out.
    fn pass(&mut self, session: &Session<'_>, event: &Event, before: Before) {
        let ticks = session.ticks();
        if let Event::Buffered(log) = event {
            let calls = buffered_calls(log).filter(|call| !call.is_read());
            self.unplaced = calls
                .map(|call| Unplaced {
                    number: call.number,
                    result: call.result,
                    handed: call.handed.map(|it| (TaskId(it.task), it.slice, it.left)),
                })
                .collect();
        } else if needs_instructions(event) {
            self.place(ticks);
        }
        self.at.ticks = self.at.ticks.max(ticks);
        match event {
            Event::Run { task, slice, preempts } => {
                let is_gone = !session.state().tasks().any(|(id, _)| id == before.task);
                let why = match before.call {
                    _ if is_gone => Lost::Gone,
                    _ if *preempts => Lost::Preempted,
                    Some(number) => Lost::Waits(number),
                    None => Lost::Unknown,
                };
                self.slice = Slice { began: ticks, countdown: *slice };
                self.switch(*task, why);
            }
            Event::Cut(countdown) => self.slice = Slice { began: ticks, countdown: *countdown },
            Event::Syscall(call) => {
                let spawned = match call.effect {
                    Effect::Spawned(task) => Some(task),
                    _ => None,
                };
                self.history.calls.push(Call {
                    task: self.current,
                    at: self.at,
                    number: call.number,
                    result: call.result,
                    args: Some(call.args),
                    spawned,
                });
                self.at.calls += 1;
                // Names change by a call.
                self.note_threads(session);
            }
            Event::Signal(signal) => {
                let (task, at, number) = (self.current, self.at, signal.number);
                self.history.signals.push(Signal { task, at, number });
            }
            Event::Ended(_) => self.switch(self.current, Lost::Ended),
            _ => {}
        }
        self.history.events.push(self.at);
    }

    /// Gives the calls that were made without a stop their places up to now.
    fn place(&mut self, ticks: u64) {
        let calls = std::mem::take(&mut self.unplaced);
        let mut rest = &calls[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|call| call.handed.is_some());
            let (these, others) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            let handed = these.last().and_then(|call| call.handed);
            // The log has the low half of what was left.
            let until = handed.map_or(ticks, |(_, _, left)| {
                let ran = u64::from((self.slice.countdown as u32).wrapping_sub(left));
                self.slice.began.saturating_add(ran).clamp(self.at.ticks, ticks.max(self.at.ticks))
            });
            let (began, count) = (self.at.ticks, these.len() as u64);
            for (number, call) in (1..).zip(these) {
                self.at.ticks = part_way(began, until, (number, count));
                let (task, at, args, spawned) = (self.current, self.at, None, None);
                let Unplaced { number, result, .. } = *call;
                self.history.calls.push(Call { task, at, number, result, args, spawned });
                self.at.calls += 1;
            }
            if let Some((task, countdown, _)) = handed {
                let number = these.last().map_or(0, |call| call.number);
                self.slice = Slice { began: until, countdown };
                self.switch(task, Lost::Waits(number));
            }
            rest = others;
        }
    }

    /// The core goes to a task, which may have it.
    fn switch(&mut self, task: TaskId, why: Lost) {
        if task == self.current && why != Lost::Ended {
            return;
        }
        self.history.turns.push(Turn { task: self.current, from: self.since, to: self.at, why });
        (self.current, self.since) = (task, self.at);
    }

    fn note_threads(&mut self, session: &Session<'_>) {
        let state = session.state();
        for (task, name) in state.tasks() {
            let process = state.process(task).unwrap_or(task);
            let thread = Thread { task, name: name.to_owned(), process };
            self.threads.insert(task, thread);
        }
    }

    fn finish(mut self) -> History {
        self.history.end = self.at;
        self.history.threads = self.threads.into_values().collect();
        self.history
    }
}

/// The tick that is `number` of `count` parts of the way from one to another.
fn part_way(began: u64, until: u64, (number, count): (u64, u64)) -> u64 {
    let ticks = u128::from(until.saturating_sub(began)) * u128::from(number) / u128::from(count.max(1));
    began.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_spread_over_any_number_of_ticks() {
        assert_eq!([1, 2, 3].map(|number| part_way(10, 19, (number, 3))), [13, 16, 19]);
        assert_eq!(part_way(0, u64::MAX, (3, 3)), u64::MAX);
        assert_eq!(part_way(9, 8, (1, 1)), 9);
    }
}
