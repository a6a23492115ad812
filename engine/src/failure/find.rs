//! Replays a trace to find where its program fails.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::messages::{Messages, Written};
use super::panics::{self, Seen};
use super::{Failure, Kind, Moment, stack_of};
use crate::carried::Carried;
use crate::ending::Ending;
use crate::error::Error;
use crate::replay::{Limit, Options, Point, Report, Session, Why};
use crate::symbols::{Stack, Symbols};
use crate::task::TaskId;
use crate::trace::Source;
use crate::trace::event::{Effect, Event};

/// So many panics, the last ones, are looked at: a test may catch any number of them.
const MOST_PANICS: usize = 256;

/// How to replay while the failure is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Find<'a> {
    /// The core to use.
    pub core: usize,
    /// Set to true to give up soon.
    pub stop: &'a AtomicBool,
    /// How long the process may run from one event to the next.
    pub patience: Duration,
}

/// Finds where a trace's program fails. A program that exits is replayed for it.
///
/// # Errors
/// If the trace is damaged or diverges.
pub fn find(carried: &Carried<'_>, how: Find<'_>) -> Result<Failure, Error> {
    let trace = carried.trace();
    // The last event says how the program ended: before it, all is still there.
    let end = trace.count().saturating_sub(1);
    let at_end = |kind, task: Option<TaskId>| {
        let moment = Moment::after(end, task.unwrap_or(TaskId(0)));
        Ok(Failure { kind, moment, message: None, panics_known: true })
    };
    let code = match trace.ending() {
        Ending::Exited(code) => *code,
        Ending::Killed { signal, task, .. } => return at_end(Kind::Signal(*signal), Some(*task)),
        Ending::Deadlocked(tasks) => return at_end(Kind::Deadlock, tasks.first().map(|state| state.task)),
        Ending::Hung { tasks, .. } => return at_end(Kind::Hang, tasks.first().map(|state| state.task)),
        Ending::Unsupported { task, .. } => return at_end(Kind::Unsupported, Some(*task)),
    };
    let mut search = Search::of(carried);
    let exits = search.run(end, how)?;
    if code != 0
        && let Some((moment, message)) = search.chosen()?
    {
        return Ok(Failure { kind: Kind::Panic, moment, message, panics_known: true });
    }
    let panics_known = !search.points.is_empty();
    at_end(Kind::Exit(code), Some(exits)).map(|exit| Failure { panics_known, ..exit })
}

/// Whether this is the symbol of the function through which all panics go: bare in older versions of std, mangled with
/// the name of the crate in newer ones.
fn is_rust_panic(symbol: &str) -> bool {
    symbol == "rust_panic" || symbol.ends_with("10rust_panic") || symbol.contains("10rust_panic17h")
}

/// A panic.
struct Panic {
    moment: Moment,
    stack: Stack,
    /// The code in which it happened.
    symbols: Rc<RefCell<Symbols>>,
    thread: String,
    /// Whether it happened in the program's first process.
    first: bool,
}

/// The code of an address space.
#[derive(Clone)]
struct Code {
    symbols: Rc<RefCell<Symbols>>,
    /// Where the functions are through which panics go.
    rust_panics: Rc<[u64]>,
}

/// Looks for panics.
struct Search<'c, 'a> {
    carried: &'c Carried<'a>,
    /// Of the address spaces, by number, as far as what is mapped there has not changed since.
    code: BTreeMap<usize, Code>,
    panics: VecDeque<Panic>,
    messages: Messages,
    points: Vec<Point>,
}

impl<'c, 'a> Search<'c, 'a> {
    fn of(carried: &'c Carried<'a>) -> Self {
        Self {
            carried,
            code: BTreeMap::new(),
            panics: VecDeque::new(),
            messages: Messages::default(),
            points: Vec::new(),
        }
    }

    /// Replays so many events, and notes all panics. Returns the task that has the core then.
    fn run(&mut self, end: u64, how: Find<'_>) -> Result<TaskId, Error> {
        let mut written = Written::default();
        let mut note = |_, bytes: &[u8]| written.push(bytes);
        let Find { core, stop, patience } = how;
        let options = Options { core, stop, patience, watch: &[], output: &mut note };
        let mut session = Session::start(self.carried.trace(), options)?;
        let mut events = self.carried.trace().events_from(1);
        self.stop_at_panics(&mut session)?;
        let (mut last, mut passes) = (0, BTreeMap::<u64, u32>::new());
        while session.state().event() < end {
            let report = session.step(Limit::Event)?;
            if report.event != last {
                last = report.event;
                passes.clear();
            }
            match report.why {
                Why::Breakpoint(address) => {
                    let passes = passes.entry(address).or_default();
                    *passes += 1;
                    self.note_panic(&mut session, report, (address, *passes))?;
                }
                Why::Ended => break,
                _ => {
                    if events.next().transpose()?.is_some_and(|event| maps_code(&event)) {
                        self.stop_at_panics(&mut session)?;
                    }
                }
            }
        }
        let task = session.state().current();
        drop(session);
        self.messages = written.messages();
        Ok(task)
    }

    /// The running task has mapped code: stop wherever it may panic there.
    fn stop_at_panics(&mut self, session: &mut Session<'_>) -> Result<(), Error> {
        let task = session.state().current();
        self.code.remove(&session.state().space(task).unwrap_or_default());
        for address in self.code(session, task)?.rust_panics.iter() {
            let point = Point::Execute(*address);
            if !self.points.contains(&point) {
                session.stop_at(point);
                self.points.push(point);
            }
        }
        Ok(())
    }

    fn code(&mut self, session: &Session<'_>, task: TaskId) -> Result<Code, Error> {
        let space = session.state().space(task).unwrap_or_default();
        if let Some(code) = self.code.get(&space) {
            return Ok(code.clone());
        }
        let symbols = self.carried.symbols(&session.mapped(task)?)?;
        let rust_panics = symbols.addresses_of(is_rust_panic).into();
        let code = Code { symbols: Rc::new(RefCell::new(symbols)), rust_panics };
        self.code.insert(space, code.clone());
        Ok(code)
    }

    fn note_panic(
        &mut self,
        session: &mut Session<'_>,
        report: Report,
        stop: (u64, u32),
    ) -> Result<(), Error> {
        let Report { event, ticks, task, .. } = report;
        let Code { symbols, rust_panics } = self.code(session, task)?;
        // Another program may have something else there.
        if !rust_panics.contains(&stop.0) {
            return Ok(());
        }
        let stack = stack_of(session, task, &mut symbols.borrow_mut())?;
        let name = session.state().tasks().find_map(|(id, name)| (id == task).then(|| name.to_owned()));
        let (thread, first) = (name.unwrap_or_default(), session.state().is_of_first(task));
        let moment = Moment { event, ticks, task, stop: Some(stop) };
        self.panics.push_back(Panic { moment, stack, symbols, thread, first });
        if self.panics.len() > MOST_PANICS {
            self.panics.pop_front();
        }
        Ok(())
    }

    /// The panic that made the program fail, and its message: one of its first process, if there is any.
    fn chosen(&self) -> Result<Option<(Moment, Option<String>)>, Error> {
        for only_first in [true, false] {
            let panics = self.panics.iter().rev().filter(|panic| panic.first || !only_first);
            let panics: Vec<&Panic> = panics.collect();
            let (mut messages, mut told) = (self.messages.clone(), Vec::new());
            let seen = |n: usize| {
                let Some(Panic { moment, stack, symbols, thread, .. }) = panics.get(n) else {
                    return Ok(None);
                };
                let frames = self.carried.frames(&mut symbols.borrow_mut(), stack)?.concat();
                let message = messages.take(thread, &frames);
                told.push(message.clone());
                Ok::<_, Error>(Some(Seen { task: moment.task, frames, message }))
            };
            if let Some(chosen) = panics::choose(seen)?
                && let (Some(panic), Some(message)) = (panics.get(chosen), told.get(chosen))
            {
                return Ok(Some((panic.moment, message.clone())));
            }
        }
        Ok(None)
    }
}

/// Whether what an event tells of can bring code with it.
fn maps_code(event: &Event) -> bool {
    /// mmap(2) says in this argument what may be done with the memory.
    const PROT: usize = 2;
    match event {
        Event::Syscall(call) => match call.effect {
            Effect::Executed(_) => true,
            Effect::MapFile(_) => call.args[PROT] & libc::PROT_EXEC as u64 != 0,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_has_the_same_symbol_in_all_versions_of_std() {
        for symbol in [
            "rust_panic",
            "_RNvCsdBezzDwma51_7___rustc10rust_panic",
            "_ZN3std9panicking10rust_panic17h0123456789abcdefE",
        ] {
            assert!(is_rust_panic(symbol), "{symbol}");
        }
        for symbol in
            ["rust_panic_with_hook", "_ZN3std9panicking20rust_panic_with_hook17h0123456789abcdefE", ""]
        {
            assert!(!is_rust_panic(symbol), "{symbol}");
        }
    }
}
