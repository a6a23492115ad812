//! Where a recorded program fails: the moment at which whoever looks for the cause begins.
//!
//! That is the panic that made it fail ([`panics`] says which of several that is), the signal that killed it, or its
//! end: the exit, or, of a program that did not end, all threads where they wait. Panics are found by a breakpoint on the
//! function through which all of them go, `rust_panic`, whose address the trace's own files tell.
//!
//! This room stands on [`replay`](crate::replay) and [`carried`](crate::carried).

mod find;
mod frames;
mod messages;
mod panics;

use crate::ending::Frame;
use crate::error::Error;
use crate::replay::{Limit, Point, Report, Session, State, Why};
use crate::symbols::{Stack, StackRegisters, Symbols};
use crate::syscalls;
use crate::task::TaskId;

pub use find::{Find, find};
pub(crate) use frames::Frames;

/// Where a program fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How.
    pub kind: Kind,
    /// When.
    pub moment: Moment,
    /// What the program wrote of its panic: std's message, from the line that begins it on. None if it wrote no such
    /// message, or does not panic.
    pub message: Option<String>,
    /// Whether panics could be found: files of the trace have symbols for them.
    pub panics_known: bool,
}

/// How a program fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It panics.
    Panic,
    /// A signal kills it.
    Signal(i32),
    /// No thread can ever run again.
    Deadlock,
    /// It does not end.
    Hang,
    /// It exits with this code, and no panic that could be found explains that. With 0 it has not failed.
    Exit(i32),
    /// It does something that cannot be recorded.
    Unsupported,
}

/// A moment of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How many events have been carried out.
    pub event: u64,
    /// How many ticks there have been since the last of these.
    pub ticks: u64,
    /// The task that is looked at.
    pub task: TaskId,
    /// The instruction at which the task stands, and how often some task has come there since the event; none where
    /// the event ends.
    pub stop: Option<(u64, u32)>,
}

impl Moment {
    /// When so many events have been carried out.
    #[must_use]
    pub fn after(event: u64, task: TaskId) -> Self {
        Self { event, ticks: 0, task, stop: None }
    }
}

/// Moves a session there, which has not come so far yet. The report says [`Why::Ended`] if there is no such moment.
///
/// # Errors
/// As for [`Session::step`].
pub fn go_to(session: &mut Session<'_>, moment: &Moment) -> Result<Report, Error> {
    let mut report = session.step(Limit::Ticks(0))?;
    while report.event < moment.event && report.why != Why::Ended {
        report = session.step(Limit::Event)?;
    }
    let Some((address, mut passes)) = moment.stop.filter(|_| report.why != Why::Ended) else {
        return Ok(report);
    };
    let point = Point::Execute(address);
    session.stop_at(point);
    while passes > 0 && report.why != Why::Ended {
        report = session.step(Limit::End)?;
        passes -= u32::from(report.why == Why::Breakpoint(address));
    }
    session.stop_no_more_at(point);
    Ok(report)
}

/// What a task does where it stands, in words, as far as a replay tells: of what a call waits for it knows nothing.
#[must_use]
pub fn doing(state: &State, task: TaskId) -> String {
    match state.call(task) {
        Some(number) => format!("at the system call {}", syscalls::name(number)),
        None if state.current() == task => "runs".to_owned(),
        None => "can run".to_owned(),
    }
}

/// Unwinds the stack of a task where it stands; empty if there is no such task (any more).
///
/// # Errors
/// As for [`Session::registers`].
pub fn stack_of(session: &mut Session<'_>, task: TaskId, symbols: &mut Symbols) -> Result<Stack, Error> {
    let Some(registers) = registers(session, task)? else { return Ok(Stack::default()) };
    Ok(symbols.stack(registers, &mut memory(session, task)))
}

/// Returns what the future waits for that a task drives ([`Symbols::awaited`]).
///
/// # Errors
/// As for [`Session::registers`].
pub fn awaited_by(
    session: &mut Session<'_>,
    task: TaskId,
    symbols: &mut Symbols,
) -> Result<Vec<Frame>, Error> {
    let Some(registers) = registers(session, task)? else { return Ok(Vec::new()) };
    Ok(symbols.awaited(registers, &mut memory(session, task)))
}

fn registers(session: &mut Session<'_>, task: TaskId) -> Result<Option<StackRegisters>, Error> {
    let registers = session.registers(task)?;
    Ok(registers.map(|all| StackRegisters { rip: all.ip(), rsp: all.sp(), rbp: all.bp() }))
}

/// Reads the memory of a task: the whole buffer, or nothing.
fn memory(session: &Session<'_>, task: TaskId) -> impl FnMut(u64, &mut [u8]) -> bool {
    move |address, buffer| {
        session.read(task, address, buffer.len()).is_ok_and(|bytes| {
            buffer.copy_from_slice(&bytes);
            true
        })
    }
}
