//! The stacks of a replay's threads where they stand, with names, lines and sources from the trace.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rrtest_engine::Error;
use rrtest_engine::carried::Carried;
use rrtest_engine::ending::Frame;
use rrtest_engine::failure::{self, awaited_by, stack_of};
use rrtest_engine::replay::Session;
use rrtest_engine::symbols::origin::Origin;
use rrtest_engine::symbols::{Mapping, Symbols};
use rrtest_engine::task::TaskId;

use super::backtrace::{self, Frames, Row};
use crate::base::terminal::{BOLD, DIM};
use crate::base::words::{relative, visible};

/// A thread where it stands.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) task: TaskId,
    pub(crate) name: String,
    /// The first task of its process.
    pub(crate) process: TaskId,
    /// What it does, in words.
    pub(crate) doing: String,
    /// What its future awaits, and the async functions that lead to it.
    pub(crate) awaits: Vec<Frame>,
    pub(crate) frames: Vec<Placed>,
}

/// A frame, and more about its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) frame: Frame,
    /// Whether the compiler has put it into the next one.
    pub(crate) inlined: bool,
    /// The text of its source line, if the trace has the source.
    pub(crate) text: Option<String>,
    /// The program or library that it is of.
    pub(crate) module: Option<PathBuf>,
}

/// Reads stacks in replays of one trace.
pub(crate) struct Stacks<'c, 'a> {
    carried: &'c Carried<'a>,
    /// By the numbers of address spaces.
    code: BTreeMap<usize, (Vec<Mapping>, Symbols)>,
}

impl<'c, 'a> Stacks<'c, 'a> {
    /// Those of a replay that stands somewhere, and does not go on meanwhile.
    pub(crate) fn of(carried: &'c Carried<'a>) -> Self {
        Self { carried, code: BTreeMap::new() }
    }

    /// The stack of a task.
    pub(crate) fn thread(&mut self, session: &mut Session<'_>, task: TaskId) -> Result<Thread, Error> {
        let space = session.state().space(task).unwrap_or_default();
        if !self.code.contains_key(&space) {
            let mapped = session.mapped(task)?;
            let symbols = self.carried.symbols(&mapped)?;
            self.code.insert(space, (mapped, symbols));
        }
        let Some((mapped, symbols)) = self.code.get_mut(&space) else {
            return Err(Error::Bug { what: "symbols are not where they were put".to_owned() });
        };
        let stack = stack_of(session, task, symbols)?;
        let frames = self.carried.frames(symbols, &stack)?;
        let drives = |name: &String| name.contains("block_on");
        let awaits = match frames.iter().flatten().filter_map(|frame| frame.function.as_ref()).any(drives) {
            true => awaited_by(session, task, symbols)?,
            false => Vec::new(),
        };
        let module = |address| {
            let mapping = mapped.iter().find(|mapping| mapping.has(address))?;
            Some(self.carried.path_of(&mapping.path))
        };
        let placed = frames.into_iter().flat_map(|frames| {
            let last = frames.len().saturating_sub(1);
            frames.into_iter().enumerate().map(move |(index, frame)| (index < last, frame))
        });
        let placed = placed.map(|(inlined, frame)| {
            let text = frame.location.as_ref().map(|place| self.carried.line(place)).transpose()?.flatten();
            Ok(Placed { inlined, text, module: module(frame.address), frame })
        });
        let frames = placed.collect::<Result<Vec<_>, Error>>()?;
        let state = session.state();
        let name = state.tasks().find_map(|(id, name)| (id == task).then(|| name.to_owned()));
        Ok(Thread {
            task,
            name: name.unwrap_or_default(),
            process: state.process(task).unwrap_or(task),
            doing: failure::doing(session.state(), task),
            awaits,
            frames,
        })
    }
}

/// The programs and libraries whose functions have no names, since the trace does not carry them.
pub(crate) fn missing(carried: &Carried<'_>, threads: &[Thread]) -> Result<Vec<PathBuf>, Error> {
    let frames = threads.iter().flat_map(|thread| &thread.frames);
    let unnamed = frames.filter(|placed| placed.frame.function.is_none());
    let modules: BTreeSet<&Path> = unnamed.filter_map(|placed| placed.module.as_deref()).collect();
    let mut missing = Vec::new();
    for module in modules {
        if carried.file(module)?.is_none() {
            missing.push(module.to_owned());
        }
    }
    Ok(missing)
}

/// Writes a thread for people: a line that names it, and its frames.
pub(crate) fn write(out: &mut impl Write, thread: &Thread, which: Frames) -> io::Result<()> {
    let Thread { task, name, process, doing, awaits, frames } = thread;
    let of_process =
        if *process == TaskId(0) { String::new() } else { format!(" of the process of {process}") };
    writeln!(out, "\n{BOLD}thread `{}`{BOLD:#} ({task}{of_process}): {}", visible(name), visible(doing))?;
    for line in backtrace::awaits(awaits) {
        writeln!(out, "       {}", visible(&line))?;
    }
    if frames.is_empty() {
        return writeln!(out, "       no stack");
    }
    let plain: Vec<Frame> = frames.iter().map(|placed| placed.frame.clone()).collect();
    for row in backtrace::rows(&plain, which) {
        match row {
            Row::Frame(index) => write_frame(out, index, &frames[index], which)?,
            Row::Folded(range, words) => {
                let numbers = format!("{}-{}", range.start, range.end - 1);
                writeln!(out, "{DIM}{numbers:>6} … {}{DIM:#}", visible(&words))?;
            }
        }
    }
    Ok(())
}

fn write_frame(out: &mut impl Write, index: usize, placed: &Placed, which: Frames) -> io::Result<()> {
    let Placed { frame, text, module, .. } = placed;
    let is_own = Origin::of(frame) == Origin::Own;
    let style = if is_own { BOLD } else { DIM };
    let mut function = backtrace::short(frame);
    if frame.function.is_none()
        && let Some(name) = module.as_deref().and_then(Path::file_name)
    {
        function += &format!(" in {}", name.to_string_lossy());
    }
    writeln!(out, "{style}{index:>6} {}{style:#}", visible(&function))?;
    if let Some((file, line)) = frame.location.as_ref().filter(|_| is_own || which == Frames::All) {
        let place = format!("{}:{line}", relative(Path::new(file)).display());
        writeln!(out, "         at {}", visible(&place))?;
    }
    match text.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => writeln!(out, "       {DIM}|{DIM:#} {}", visible(text)),
        None => Ok(()),
    }
}

/// The threads of all processes, in the order of their tasks, `first` first.
pub(crate) fn tasks(session: &Session<'_>, first: TaskId) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = session.state().tasks().map(|(task, _)| task).collect();
    tasks.sort_by_key(|task| (*task != first, *task));
    tasks
}
