//! A replay that is stepped through.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use rrtest_preload::layout::AccessKind;
use rrtest_preload::processor::Processor;

use super::check::misplaced;
use super::cursor::Cursor;
use super::files::{Contents, Files};
use super::live::{Handle, Held, Live};
use super::state::{At, Space, State};
use super::step::{Control, Step, Unfinished, needs_instructions};
use super::stops::{Limit, Stops, Why};
use super::{Options, image, place};
use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::symbols::Mapping;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::trace::{Machine, Source, TraceError};
use crate::tracee::{
    Area, Launched, Line, Memory, Point, Registers, Resume, Stopped, THREAD_NAME, VectorRegisters,
    WakeUpTimer, bind_to_core, raise_descriptor_limit, rebuild,
};

/// A replay under way. Several can be under way at a time, also on one thread: each has processes, files and an area
/// of its own.
pub struct Session<'a> {
    state: State,
    cursor: Cursor<'a>,
    live: Live<'a>,
    control: Control<'a>,
    stops: Stops,
    ended: Option<Ending>,
}

/// Where a step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many events have been carried out.
    pub event: u64,
    /// The task that has the core.
    pub task: TaskId,
    /// How many ticks there have been since the last of these events.
    pub ticks: u64,
    /// Whether nothing has been executed since the last of these events.
    pub between: bool,
    /// Why it has ended there.
    pub why: Why,
}

/// Refuses a trace, before anything of it runs, that needs another processor.
fn check_processor(trace: &dyn Source) -> Result<(), Error> {
    let (recorded, here) = (trace.machine(), Machine::here(Processor::Native));
    recorded.replays_on(&here).map_err(|lacking| {
        let (recorded, here) = (recorded.to_string(), here.model().to_owned());
        TraceError::Processor { path: trace.origin().0.to_owned(), lacking, recorded, here }.into()
    })
}

impl<'a> Session<'a> {
    /// Begin a replay: its program stands before its first instruction. The calling thread is pinned to the core.
    ///
    /// # Errors
    /// If the trace is damaged, or the kernel refuses something.
    pub fn start(trace: &'a dyn Source, options: Options<'a>) -> Result<Self, Error> {
        let Options { core, stop, patience, output, .. } = options;
        Self::begin(trace, core, Control { stop, patience, output: Box::new(output) })
    }

    /// The same, pinned to this core.
    pub(crate) fn begin(trace: &'a dyn Source, core: usize, control: Control<'a>) -> Result<Self, Error> {
        check_processor(trace)?;
        let contents = Contents::of(trace);
        bind_to_core(core)?;
        raise_descriptor_limit();
        let mut cursor = Cursor::new(trace);
        let image = match cursor.take()? {
            Some(Event::Image(image)) => image,
            other => return Err(misplaced(0, "the program's image", &format!("{other:?}"))),
        };
        let area = Area::new()?;
        let Launched { task, memory, kill_on_drop } = rebuild(&area)?;
        let mut files = Files::default();
        let task = image::fill(task, (&memory, &area), &image, &mut files, &contents)?;
        let pid = task.tid();
        Ok(Self {
            state: State::started(program_name(&image.program), Space::of(&image)),
            cursor,
            live: Live {
                area,
                files,
                contents,
                memories: vec![Rc::new(memory)],
                handles: vec![Handle::new(task, pid)],
                kill_on_drop,
                _wake_up_timer: WakeUpTimer::start()?,
            },
            control,
            stops: Stops::default(),
            ended: None,
        })
    }

    /// Go on, as far as `limit` says, or to a breakpoint or a watchpoint.
    ///
    /// # Errors
    /// [`Error::Diverged`] at the first event that differs from the recorded one; others as they come. The session is
    /// of no use then.
    pub fn step(&mut self, limit: Limit) -> Result<Report, Error> {
        self.stops.instruction = limit == Limit::Instruction;
        let ahead = std::mem::take(&mut self.stops.ahead);
        self.stops.until = match limit {
            Limit::Ticks(ticks) | Limit::TicksWithin(ticks) => {
                Some(self.ticks().saturating_add(ahead).saturating_add(ticks))
            }
            _ => None,
        };
        let why = if matches!(limit, Limit::Ticks(0) | Limit::TicksWithin(0)) {
            self.stops.ahead = ahead;
            Why::Ticks
        } else {
            self.go(limit)?
        };
        if !matches!(why, Why::Event | Why::Ended) && self.stops.told.is_none() {
            self.stops.told = self.running()?.1.map(|registers| registers.ip());
        }
        Ok(self.report(why))
    }

    fn go(&mut self, limit: Limit) -> Result<Why, Error> {
        if self.ended.is_some() {
            return Ok(Why::Ended);
        }
        if let Limit::To(event) = limit
            && self.state.event >= event
        {
            return Ok(Why::Event);
        }
        loop {
            if self.control.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let Some(event) = self.cursor.peek()? else {
                return Err(misplaced(self.state.event, "the end of the program", "nothing"));
            };
            let runs = needs_instructions(event);
            // The event is borrowed from the cursor.
            let mut step = Step {
                state: &mut self.state,
                live: &mut self.live,
                control: &mut self.control,
                stops: &mut self.stops,
            };
            match step.carry_out(event) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(ending)) => {
                    self.state.stats.ticks = self.ticks();
                    self.live.contents.finish()?;
                    self.ended = Some(ending);
                    self.pass_event()?;
                    return Ok(Why::Ended);
                }
                Err(Unfinished::Halted(why)) => return Ok(why),
                Err(Unfinished::Failed(error)) => return Err(error),
            }
            self.pass_event()?;
            if let Some(why) = self.reached(limit, runs) {
                return Ok(why);
            }
        }
    }

    /// All that a step needs.
    fn at_work(&mut self) -> Step<'_, 'a> {
        Step {
            state: &mut self.state,
            live: &mut self.live,
            control: &mut self.control,
            stops: &mut self.stops,
        }
    }

    /// The event at hand has been carried out.
    fn pass_event(&mut self) -> Result<(), Error> {
        self.cursor.take()?;
        self.state.event += 1;
        self.state.ticks_at_event = self.ticks();
        self.stops.has_run = false;
        Ok(())
    }

    /// Whether an event has brought the step to its end.
    fn reached(&mut self, limit: Limit, runs: bool) -> Option<Why> {
        if !self.stops.are_none() {
            let memory = &self.live.memories[self.state.running().space];
            let written = self.stops.written(memory);
            if let Some(why) = self.stops.pending.take().or(written) {
                return Some(why);
            }
        }
        match limit {
            Limit::Event => Some(Why::Event),
            Limit::To(event) if self.state.event >= event => Some(Why::Event),
            Limit::Ticks(_) | Limit::TicksWithin(_)
                if self.stops.until.is_some_and(|until| self.ticks() >= until) =>
            {
                Some(Why::Ticks)
            }
            Limit::TicksWithin(_) if runs => Some(Why::Event),
            Limit::Instruction if runs => Some(Why::Instruction),
            Limit::End | Limit::To(_) | Limit::Ticks(_) | Limit::TicksWithin(_) | Limit::Instruction => None,
        }
    }

    /// Carry out what needs no instruction of the program: the running task is the one that executes the next one then.
    /// At the end of the program it stays in front of that. Returns what was met on the way.
    ///
    /// # Errors
    /// As for [`Self::step`].
    pub fn settle(&mut self) -> Result<Option<Why>, Error> {
        let mut met = None;
        while let Some(event) = self.cursor.peek()?
            && !needs_instructions(event)
            && !matches!(event, Event::Ended(_))
        {
            let why = self.step(Limit::Event)?.why;
            met = met.or((why != Why::Event).then_some(why));
        }
        Ok(met)
    }

    /// A breakpoint where the running task stands is no news: it goes on from there.
    ///
    /// # Errors
    /// If the task has died.
    pub fn pass(&mut self) -> Result<(), Error> {
        self.stops.told = self.running()?.1.map(|registers| registers.ip());
        Ok(())
    }

    /// Whether it stands in front of the call that the last tick is about, which is still to be counted.
    pub(crate) fn is_ahead(&self) -> bool {
        self.stops.ahead > 0
    }

    /// How many events have been carried out, and how many ticks there have been since.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        (self.state.event, self.ticks_since_event())
    }

    /// Where it stands.
    fn report(&self, why: Why) -> Report {
        let ticks = self.ticks_since_event();
        let between = !self.stops.has_run;
        Report { event: self.state.event, task: self.state.current, ticks, between, why }
    }

    /// Ticks of all tasks so far.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.state.count.total(self.live.area.countdown()).saturating_add(self.stops.ahead)
    }

    /// Ticks since the last event. The program can write the countdown, and so take some back.
    fn ticks_since_event(&self) -> u64 {
        self.ticks().saturating_sub(self.state.ticks_at_event)
    }

    /// What is known from the trace.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// In front of the next event.
    #[must_use]
    pub fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    /// How the program has ended, once it has, and what was counted.
    #[must_use]
    pub fn ended(&self) -> Option<(&Ending, Stats)> {
        self.ended.as_ref().map(|ending| (ending, self.state.stats))
    }

    /// Stop at a breakpoint or a watchpoint of this kind from now on, in whichever task. False if the processor has
    /// no means left: it can watch four places. There is no such bound for breakpoints.
    pub fn stop_at(&mut self, point: Point) -> bool {
        let added = self.stops.add(point);
        // What is there now is known.
        let memory = &self.live.memories[self.state.running().space];
        let _ = self.stops.written(memory);
        added
    }

    /// Do not stop there any more. False if it did not.
    pub fn stop_no_more_at(&mut self, point: Point) -> bool {
        self.stops.remove(point)
    }

    /// The registers of a task as the program sees them, wherever it stands; none if there is no such task (any more).
    ///
    /// # Errors
    /// If it has died, or makes a call where it should wait.
    pub fn registers(&mut self, task: TaskId) -> Result<Option<Registers>, Error> {
        self.at_work().registers_of(task)
    }

    /// What the running task is about to access, which stands in front of a compiled-in tick's operation: the address, and
    /// how. None if the clock's runtime has another version.
    #[must_use]
    pub fn touched(&self) -> Option<(u64, AccessKind)> {
        let (address, kind) = self.live.area.tick_touches();
        AccessKind::from_raw(kind).map(|kind| (address, kind))
    }

    /// The floating-point and vector registers of a task, wherever it stands; none if there is no such task (any more).
    ///
    /// # Errors
    /// If it has died, or makes a call where it should wait.
    pub fn vector_registers(&mut self, task: TaskId) -> Result<Option<VectorRegisters>, Error> {
        self.at_work().vector_registers_of(task)
    }

    /// Memory of a task as the program sees it: with its own code in place of jumps of ours.
    ///
    /// # Errors
    /// If not all of it is mapped, or there is no such task.
    pub fn read(&self, task: TaskId, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        let Some(space) = self.state.space(task) else {
            return Err(misplaced(self.state.event, "a task", &task.to_string()));
        };
        self.state.spaces[space].originals.read(&self.live.memories[space], address, len)
    }

    /// What a task has mapped of files, by the names that the trace has of them; of a long name only the end.
    ///
    /// # Errors
    /// If the kernel does not tell, or there is no such task.
    pub fn mapped(&self, task: TaskId) -> Result<Vec<Mapping>, Error> {
        let Some(space) = self.state.space(task) else {
            return Err(misplaced(self.state.event, "a task", &task.to_string()));
        };
        place::mapped(self.live.memories[space].pid())
    }

    /// All that a task has mapped, with the names that the trace has of files. What is ours is not in it.
    ///
    /// # Errors
    /// If the kernel does not tell, or there is no such task.
    pub fn memory_map(&self, task: TaskId) -> Result<Vec<Line>, Error> {
        let Some(space) = self.state.space(task) else {
            return Err(misplaced(self.state.event, "a task", &task.to_string()));
        };
        let mut lines = place::map(self.live.memories[space].pid())?;
        lines.retain(|line| !Area::overlaps(line.start, line.end - line.start));
        Ok(lines)
    }

    /// Takes a task out of the replay, which is of no use then: wherever it stands, it is stopped, executes the
    /// program's own code, and has its turn for as long as it wants. None if there is no such task (any more).
    pub(super) fn take_out(&mut self, task: TaskId) -> Result<Option<(Stopped, Rc<Memory>)>, Error> {
        let Some(it) = self.state.tasks.get(task.0 as usize) else { return Ok(None) };
        let (space, is_parked) = (it.space, matches!(it.at, At::Parked(_)));
        let mut step = self.at_work();
        let stopped =
            if is_parked { Some(step.stop_parked(task)?.0) } else { step.live.handle(task).take_stopped() };
        let memory = Rc::clone(&self.live.memories[space]);
        self.state.spaces[space].originals.restore(&memory)?;
        self.live.area.set_countdown(u64::MAX / 2);
        Ok(stopped.map(|stopped| (stopped, memory)))
    }

    /// Says, once it is set, that it should stop soon.
    pub(super) fn stop_flag(&self) -> &'a AtomicBool {
        self.control.stop
    }

    /// The running task's memory, and its registers as they are.
    pub(super) fn running(&self) -> Result<(&Memory, Option<Registers>), Error> {
        let memory = &self.live.memories[self.state.running().space];
        let registers = match &self.live.handles[self.state.current.0 as usize].held {
            Some(Held::Stopped(stopped)) => Some(stopped.registers()?),
            _ => None,
        };
        Ok((memory, registers))
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("state", &self.state)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Step<'_, '_> {
    fn vector_registers_of(&mut self, id: TaskId) -> Result<Option<VectorRegisters>, Error> {
        match self.state.tasks.get(id.0 as usize).map(|task| &task.at) {
            None | Some(At::Gone) => Ok(None),
            Some(At::Parked(_)) => {
                let (stopped, _) = self.stop_parked(id)?;
                let registers = stopped.vector_registers()?;
                self.live.handle(id).held = Some(Held::Running(stopped.resume(Resume::Freely, 0)?));
                Ok(Some(registers))
            }
            Some(At::Ready | At::Calling(_) | At::Repeating) => match &self.live.handle(id).held {
                Some(Held::Stopped(stopped)) => stopped.vector_registers().map(Some),
                _ => Ok(None),
            },
        }
    }

    fn registers_of(&mut self, id: TaskId) -> Result<Option<Registers>, Error> {
        let Some(task) = self.state.tasks.get(id.0 as usize) else { return Ok(None) };
        let registers = match task.at {
            At::Gone => return Ok(None),
            At::Calling(registers) => registers,
            At::Ready | At::Repeating => match &self.live.handle(id).held {
                Some(Held::Stopped(stopped)) => stopped.registers()?,
                _ => return Ok(None),
            },
            At::Parked(slot) => {
                let (stopped, _) = self.stop_parked(id)?;
                let registers = self.live.area.parked_registers(slot, &stopped.registers()?);
                self.live.handle(id).held = Some(Held::Running(stopped.resume(Resume::Freely, 0)?));
                registers
            }
        };
        Ok(Some(self.visible(id, &registers).unwrap_or(registers)))
    }
}

/// A new process's name: the program's file name, cut to what the kernel keeps (proc_pid_comm(5)).
pub(super) fn program_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).chars().take(THREAD_NAME).collect()
}
