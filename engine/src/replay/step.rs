//! Carrying out one event: bring the running task there, check, apply.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_preload::layout::{BUFFER_VERSION, Mode};

use super::Sink;
use super::live::{Held, Live};
use super::state::{At, State};
use super::stops::{Stops, Why};
use crate::ending::Ending;
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::TraceError;
use crate::trace::event::{Event, Written};
use crate::tracee::{Memory, Registers, Stop, Stopped};

/// All that a step needs: what comes from the trace, what is alive, what whoever replays has asked for.
pub(super) struct Step<'s, 'a> {
    pub(super) state: &'s mut State,
    pub(super) live: &'s mut Live<'a>,
    pub(super) control: &'s mut Control<'a>,
    pub(super) stops: &'s mut Stops,
}

/// What whoever replays has asked for.
pub(crate) struct Control<'a> {
    /// Set to true to give up soon.
    pub(crate) stop: &'a AtomicBool,
    /// How long the program may run from one event to the next.
    pub(crate) patience: Duration,
    /// Gets the program's output as it comes.
    pub(crate) output: Sink<'a>,
}

/// Why an event has not been carried out.
pub(super) enum Unfinished {
    /// The replay is over.
    Failed(Error),
    /// Something that was asked for has come first. The event is still to be carried out.
    Halted(Why),
}

impl<E: Into<Error>> From<E> for Unfinished {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What is to become of an event.
pub(super) type Flow<T> = Result<T, Unfinished>;

/// Where the running task has come to: a stop that an event tells of, or that differs.
pub(super) struct Arrival {
    pub(super) stopped: Stopped,
    pub(super) stop: Stop,
    pub(super) registers: Registers,
}

/// Whether the running task must execute instructions before an event is there.
pub(crate) fn needs_instructions(event: &Event) -> bool {
    match event {
        Event::Tick(_)
        | Event::Entered(_)
        | Event::Patched(_)
        | Event::Syscall(_)
        | Event::Drained(_)
        | Event::TrappedRead(_)
        | Event::AsyncStop(_)
        | Event::Parked(_) => true,
        Event::Signal(signal) => signal.fault,
        Event::Image(_)
        | Event::Buffer(_)
        | Event::Run { .. }
        | Event::Cut(_)
        | Event::Buffered(_)
        | Event::MovedReads(_)
        | Event::Written(_)
        | Event::Killed(_)
        | Event::Unparked(_)
        | Event::Ended(_) => false,
    }
}

impl Step<'_, '_> {
    /// Carry out the event at hand. [`ControlFlow::Break`] with how the program has ended.
    pub(super) fn carry_out(&mut self, event: &Event) -> Flow<ControlFlow<Ending>> {
        if !matches!(event, Event::Written(_))
            && let Some(dying) = self.state.dying.take()
        {
            self.kill_process(dying)?;
        }
        match event {
            Event::Run { task, slice, preempts } => self.switch(*task, *slice, *preempts)?,
            Event::Cut(ticks) => self.cut(*ticks)?,
            Event::Tick(position) => self.tick(position)?,
            Event::Buffer(version) => self.load_buffer(*version)?,
            Event::Buffered(log) => self.buffered(log)?,
            Event::Patched(patched) => self.patched(patched)?,
            Event::MovedReads(reads) => self.moved_reads(reads)?,
            Event::Drained(position) => self.drained(position)?,
            Event::TrappedRead(read) => self.trapped_read(read)?,
            Event::Entered(position) => {
                let (stopped, registers) = self.reach_call()?;
                self.check(position, &registers)?;
                self.calling(self.state.current, stopped, registers);
            }
            Event::Syscall(call) => self.syscall(call)?,
            Event::Signal(signal) => self.signal(signal)?,
            Event::Written(written) => self.written(written)?,
            Event::AsyncStop(async_stop) => self.async_stop(async_stop)?,
            Event::Parked(parked) => self.park(*parked)?,
            Event::Unparked(task) => self.unpark(*task)?,
            Event::Killed(task) => self.kill(*task)?,
            Event::Ended(ending) => {
                self.check_ending(ending)?;
                return Ok(ControlFlow::Break(ending.clone()));
            }
            Event::Image(_) => return Err(self.misplaced("an event", "a second process image").into()),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The code of the system-call buffer is ours, whatever the trace was made with; so it must be the same.
    fn load_buffer(&mut self, version: u32) -> Result<(), Error> {
        if version != BUFFER_VERSION {
            let (path, tool) = self.live.contents.origin();
            return Err(TraceError::Buffer { path: path.to_owned(), tool: tool.to_owned() }.into());
        }
        self.live.area.load_buffer(rrtest_preload::BUFFER);
        self.live.area.set_mode(Mode::Replay);
        Ok(())
    }

    /// The program must have ended as the trace says: by its last call or signal, or in the middle of its work.
    fn check_ending(&self, ending: &Ending) -> Result<(), Error> {
        let (code, signal) = match ending {
            Ending::Exited(code) => (Some(*code), None),
            Ending::Killed { signal, .. } => (None, Some(*signal)),
            Ending::Deadlocked(_) | Ending::Hung { .. } | Ending::Unsupported { .. } => (None, None),
        };
        let State { exit_code, killed_by, .. } = *self.state;
        // SIGKILL comes from outside, without an event.
        let outside = signal == Some(libc::SIGKILL) && killed_by.is_none();
        if code == exit_code && (outside || signal == killed_by) {
            return Ok(());
        }
        let found = match (exit_code, killed_by) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "a program that goes on".to_owned(),
        };
        Err(self.differs(told(ending), found))
    }

    /// The kernel wrote memory.
    fn written(&self, written: &Written) -> Result<(), Error> {
        let Some(task) = self.state.tasks.get(written.task.0 as usize) else {
            return Err(self.misplaced("a task", &written.task.to_string()));
        };
        let memory = &self.live.memories[task.space];
        written.writes.iter().try_for_each(|write| self.put(memory, write.address, &write.bytes))
    }

    /// Writes what the trace says to memory of the program.
    ///
    /// # Errors
    /// If there is no such memory: the trace is not one that our recorder wrote.
    pub(super) fn put(&self, memory: &Memory, address: u64, bytes: &[u8]) -> Result<(), Error> {
        memory.write(address, bytes).map_err(|error| self.no_memory(error, address, bytes.len()))
    }

    /// Returns what stands in memory of the program where the trace says.
    ///
    /// # Errors
    /// As for [`Self::put`].
    pub(super) fn stands(&self, memory: &Memory, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        memory.bytes(address, len).map_err(|error| self.no_memory(error, address, len))
    }

    fn no_memory(&self, error: Error, address: u64, len: usize) -> Error {
        match error {
            Error::Os { source, .. }
                if matches!(source.raw_os_error(), Some(libc::EIO | libc::EFAULT))
                    || matches!(
                        source.kind(),
                        std::io::ErrorKind::WriteZero | std::io::ErrorKind::UnexpectedEof
                    ) =>
            {
                self.misplaced("memory of the program", &format!("{len} bytes at {address:#x}"))
            }
            error => error,
        }
    }

    /// The running task's memory.
    pub(super) fn memory(&self) -> Rc<Memory> {
        Rc::clone(&self.live.memories[self.state.running().space])
    }

    /// Take charge of the running task, to let it go on.
    pub(super) fn take_ready(&mut self) -> Result<Stopped, Error> {
        if let At::Ready | At::Repeating = self.state.running().at
            && let Some(stopped) = self.live.handle(self.state.current).take_stopped()
        {
            self.state.running_mut().at = At::Ready;
            return Ok(stopped);
        }
        Err(self.misplaced("a task that runs", &self.state.running().at.to_string()))
    }

    /// Take charge of a task that stands at the entry of a call.
    pub(super) fn take_calling(&mut self, id: TaskId) -> Result<(Stopped, Registers), Error> {
        let at = self.state.tasks.get(id.0 as usize).map(|task| &task.at);
        if let Some(At::Calling(registers)) = at
            && let registers = *registers
            && let Some(stopped) = self.live.handle(id).take_stopped()
        {
            return Ok((stopped, registers));
        }
        let found = at.map_or_else(|| id.to_string(), ToString::to_string);
        Err(self.misplaced("a task that stands at a call", &found))
    }

    /// The running task goes on from where it stands.
    pub(super) fn ready(&mut self, stopped: Stopped) {
        self.hold(self.state.current, stopped, At::Ready);
    }

    /// A task stands at the entry of a call.
    pub(super) fn calling(&mut self, id: TaskId, stopped: Stopped, registers: Registers) {
        self.hold(id, stopped, At::Calling(registers));
    }

    pub(super) fn hold(&mut self, id: TaskId, stopped: Stopped, at: At) {
        self.state.tasks[id.0 as usize].at = at;
        self.live.handle(id).held = Some(Held::Stopped(stopped));
    }
}

/// How a program ended, in words.
fn told(ending: &Ending) -> String {
    match ending {
        Ending::Exited(code) => format!("exit code {code}"),
        Ending::Killed { signal, .. } => format!("signal {signal}"),
        Ending::Deadlocked(_) => "a deadlock".into(),
        Ending::Hung { .. } => "a program that goes on".into(),
        Ending::Unsupported { what, .. } => format!("{what}, which cannot be recorded"),
    }
}
