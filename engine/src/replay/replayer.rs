//! The replayer's loop: take an event from the trace, bring the process there, check, apply.

use std::cell::Cell;
use std::iter::Peekable;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::unistd::Pid;
use rrtest_preload::layout::{Mode, SYS_HELLO, SYS_READ, SYS_TICK};

use super::files::Files;
use super::hand_over::HandOvers;
use super::lockers::Locked;
use super::{Options, Replayed, image};
use crate::clock::Clock;
use crate::ending::{Ending, Stats};
use crate::error::{Divergence, Error};
use crate::task::TaskId;
use crate::trace::event::{Event, Position, Signal, Written};
use crate::trace::{Source, TraceError};
use crate::tracee::{
    Heartbeat, Launched, Leash, Memory, Registers, Resume, Running, Stop, Stopped, THREAD_NAME, Wait, Waited,
    is_fault, rebuild,
};

/// A replayed address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) memory: Memory,
    /// The program break, once known.
    pub(super) brk: Cell<Option<u64>>,
}

impl Space {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, brk: Cell::new(None) }
    }
}

/// A replayed task.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) tid: Pid,
    /// Its process.
    pub(super) pid: Pid,
    pub(super) space: Rc<Space>,
    pub(super) hold: Hold,
}

/// Where a replayed task is.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as threads, and a box would be one more hop"
)]
pub(super) enum Hold {
    /// It goes on where it is.
    Ready(Stopped),
    /// It stands at the entry of a call, with these registers.
    Calling(Stopped, Registers),
    /// It stands at the entry of a call that the kernel makes when the task goes on.
    Repeating(Stopped),
    /// It waits for its turn in the slot of this number.
    Parked(Running, u32),
    /// It is being moved, or is no more.
    Gone,
}

/// A replay under way.
pub(super) struct Replayer<'a> {
    pub(super) trace: &'a dyn Source,
    events: Peekable<Box<dyn Iterator<Item = Result<Event, TraceError>> + 'a>>,
    pub(super) options: Options<'a>,
    pub(super) clock: Clock,
    pub(super) files: Files,
    pub(super) tasks: Vec<Task>,
    pub(super) stats: Stats,
    /// What the program exits with, once it has said so.
    pub(super) exit_code: Option<i32>,
    /// The signal that kills the program, once it has come.
    killed_by: Option<i32>,
    /// The number of the event at hand.
    index: u64,
    /// The task that has the core.
    pub(super) current: TaskId,
    /// What tasks are going to do without a stop.
    pub(super) to_come: HandOvers,
    /// What is known of the words to watch.
    pub(super) locked: Vec<Locked>,
    _heartbeat: Heartbeat,
    pub(super) leash: Leash,
}

impl<'a> Replayer<'a> {
    pub(super) fn start(trace: &'a dyn Source, options: Options<'a>) -> Result<Self, Error> {
        trace.begin();
        crate::tracee::pin(options.core)?;
        crate::tracee::raise_descriptor_limit();
        let mut events = trace.events().peekable();
        let image = match events.next() {
            Some(Ok(Event::Image(image))) => image,
            Some(Err(error)) => return Err(error.into()),
            other => return Err(misplaced(0, "the program's image", &format!("{other:?}"))),
        };
        let clock = Clock::new()?;
        let Launched { task, memory, leash } = rebuild(clock.area())?;
        let mut files = Files::default();
        let task = image::fill(task, &memory, &image, &mut files, trace)?;
        let name = program_name(&image.program);
        let locked = options.watch.iter().copied().map(Locked::new).collect();
        if !options.watch.is_empty() {
            task.watch_writes(options.watch)?;
        }
        Ok(Self {
            trace,
            events,
            options,
            clock,
            files,
            tasks: vec![Task {
                name,
                tid: task.tid(),
                pid: task.tid(),
                space: Rc::new(Space::new(memory)),
                hold: Hold::Ready(task),
            }],
            stats: Stats { tasks: 1, ..Stats::default() },
            exit_code: None,
            killed_by: None,
            index: 0,
            current: TaskId(0),
            to_come: HandOvers::default(),
            locked,
            _heartbeat: Heartbeat::start()?,
            leash,
        })
    }

    pub(super) fn run(mut self) -> Result<Replayed, Error> {
        while let Some(event) = self.events.next() {
            self.index += 1;
            if self.options.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            match event? {
                Event::Run { task, slice, preempts } => self.switch(task, slice, preempts)?,
                Event::Cut(ticks) => self.cut(ticks)?,
                Event::Tick(position) => self.tick(&position)?,
                Event::Buffer(code) => {
                    self.clock.area().load_buffer(&code);
                    self.clock.area().set_mode(Mode::Replay);
                }
                Event::Buffered(log) => self.buffered(&log)?,
                Event::Patched(patched) => self.patched(&patched)?,
                Event::MovedReads(reads) => self.moved_reads(&reads)?,
                Event::Drained(position) => self.drained(&position)?,
                Event::TrappedRead(read) => self.trapped_read(&read)?,
                Event::Entered(position) => {
                    let (stopped, registers) = self.reach_call()?;
                    self.check(&position, &registers)?;
                    self.set(Hold::Calling(stopped, registers));
                }
                Event::Syscall(call) => self.syscall(&call)?,
                Event::Signal(signal) => self.signal(&signal)?,
                Event::Written(written) => self.written(&written)?,
                Event::Pin(pin) => self.pin(&pin)?,
                Event::Parked(parked) => self.park(parked)?,
                Event::Unparked(task) => self.unpark(task)?,
                Event::Killed(task) => self.kill(task)?,
                Event::Ended(ending) => {
                    self.check_ending(&ending)?;
                    self.trace.end()?;
                    self.stats.ticks = self.clock.total();
                    return Ok(Replayed { ending, stats: self.stats, lockers: self.lockers() });
                }
                Event::Image(_) => return Err(misplaced(self.index, "an event", "a second process image")),
            }
        }
        Err(misplaced(self.index, "the end of the program", "nothing"))
    }

    fn switch(&mut self, task: TaskId, slice: u64, preempts: bool) -> Result<(), Error> {
        if task.0 as usize >= self.tasks.len() || slice == 0 {
            return Err(misplaced(
                self.index,
                "a living task and a timeslice",
                &format!("{task}, {slice} ticks"),
            ));
        }
        self.stats.preemptions += u64::from(preempts);
        self.current = task;
        self.clock.start(slice);
        self.give_turn()
    }

    /// The program must have ended as the trace says: by its last call or signal, or in the middle of its work.
    fn check_ending(&self, ending: &Ending) -> Result<(), Error> {
        let (code, signal) = match ending {
            Ending::Exited(code) => (Some(*code), None),
            Ending::Killed { signal, .. } => (None, Some(*signal)),
            Ending::Deadlocked(_) | Ending::Hung { .. } | Ending::Unsupported { .. } => (None, None),
        };
        // SIGKILL comes from outside, without an event.
        let outside = signal == Some(libc::SIGKILL) && self.killed_by.is_none();
        if code == self.exit_code && (outside || signal == self.killed_by) {
            return Ok(());
        }
        let found = match (self.exit_code, self.killed_by) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "a program that goes on".to_owned(),
        };
        Err(self.differs(format!("{ending:?}"), found))
    }

    /// The kernel wrote memory.
    fn written(&self, written: &Written) -> Result<(), Error> {
        let Some(task) = self.tasks.get(written.task.0 as usize) else {
            return Err(self.misplaced("a task", &written.task.to_string()));
        };
        written.writes.iter().try_for_each(|write| task.space.memory.write(write.address, &write.bytes))
    }

    /// The timeslice is shortened: its end is so many ticks away.
    fn cut(&mut self, ticks: u64) -> Result<(), Error> {
        if self.clock.cut(ticks) {
            Ok(())
        } else {
            Err(misplaced(self.index, "a shorter timeslice", &format!("{ticks} ticks")))
        }
    }

    pub(super) fn task(&mut self) -> &mut Task {
        let current = self.current;
        &mut self.tasks[current.0 as usize]
    }

    /// The running task's address space.
    pub(super) fn space(&self) -> Rc<Space> {
        Rc::clone(&self.tasks[self.current.0 as usize].space)
    }

    pub(super) fn set(&mut self, hold: Hold) {
        self.task().hold = hold;
    }

    pub(super) fn take(&mut self) -> Hold {
        std::mem::replace(&mut self.task().hold, Hold::Gone)
    }

    pub(super) fn take_ready(&mut self) -> Result<Stopped, Error> {
        match self.take() {
            Hold::Ready(stopped) | Hold::Repeating(stopped) => Ok(stopped),
            other => Err(misplaced(self.index, "a task that runs", &format!("{other:?}"))),
        }
    }

    /// The running task's next stop must be a tick at this position.
    fn tick(&mut self, position: &Position) -> Result<(), Error> {
        let stopped = self.take_ready()?;
        let (stopped, stop) = self.resume(stopped, Resume::Freely)?;
        let registers = stopped.registers()?;
        if stop != Stop::Seccomp || registers.number() != SYS_TICK as u64 {
            return Err(self.differs("the end of the timeslice".into(), self.found(stop, &registers)));
        }
        self.check(position, &registers)?;
        self.set(Hold::Ready(stopped));
        Ok(())
    }

    /// Bring the running task to its next system call, or find it there.
    pub(super) fn reach_call(&mut self) -> Result<(Stopped, Registers), Error> {
        let mut stopped = match self.take() {
            Hold::Calling(stopped, registers) => return Ok((stopped, registers)),
            Hold::Ready(stopped) | Hold::Repeating(stopped) => stopped,
            Hold::Parked(..) | Hold::Gone => {
                return Err(misplaced(self.index, "a living task", "one that has ended"));
            }
        };
        loop {
            let stop;
            (stopped, stop) = self.resume(stopped, Resume::Freely)?;
            let registers = stopped.registers()?;
            match (stop, registers.number() as usize) {
                (Stop::Seccomp, SYS_HELLO) => hello(&stopped, registers)?,
                (Stop::Seccomp, number) if number != SYS_TICK => {
                    self.clock.call(number as u64);
                    self.stats.syscalls += 1;
                    return Ok((stopped, registers));
                }
                (Stop::Event, _) => {}
                _ => return Err(self.differs("a system call".into(), self.found(stop, &registers))),
            }
        }
    }

    fn signal(&mut self, signal: &Signal) -> Result<(), Error> {
        let (mut stopped, registers) = match self.take() {
            // The call that it interrupts is not made.
            Hold::Calling(stopped, registers) => (stopped, registers),
            Hold::Ready(stopped) => {
                let registers = stopped.registers()?;
                (stopped, registers)
            }
            Hold::Repeating(stopped) if signal.fault => {
                let registers = stopped.registers()?;
                (stopped, registers)
            }
            Hold::Repeating(stopped) => {
                let (stopped, _) = self.run_to_exit(stopped)?;
                let registers = stopped.registers()?;
                (stopped, registers)
            }
            Hold::Parked(..) | Hold::Gone => {
                return Err(misplaced(self.index, "a living task", "one that has ended"));
            }
        };
        let mut registers = registers;
        if signal.fault {
            let stop;
            (stopped, stop) = self.resume(stopped, Resume::Freely)?;
            // Where there is no room for a handler's frame, SIGSEGV takes the place of what was raised.
            let raised = matches!(stop, Stop::Signal(number) if number == signal.number || signal.number == libc::SIGSEGV);
            if !raised {
                let registers = stopped.registers()?;
                let expected = format!("signal {} raised by an instruction", signal.number);
                return Err(self.differs(expected, self.found(stop, &registers)));
            }
            registers = stopped.registers()?;
        }
        self.check(&signal.position, &registers)?;
        if signal.handler.is_none() {
            let pid = self.task().pid;
            if pid != self.tasks[0].pid {
                // As long as its memory is there.
                while let Some(Ok(Event::Written(written))) =
                    self.events.next_if(|event| matches!(event, Ok(Event::Written(_))))
                {
                    self.index += 1;
                    self.written(&written)?;
                }
                return self.kill_process(pid, Some(stopped.tid()));
            }
            self.killed_by = Some(signal.number);
        }
        if let Some(handler) = &signal.handler {
            for write in &handler.writes {
                self.space().memory.write(write.address, &write.bytes)?;
            }
            let mut registers = handler.registers;
            registers.set_number(u64::MAX);
            stopped.set_registers(&registers)?;
            stopped.reset_vector_state()?;
        }
        self.set(Hold::Ready(stopped));
        Ok(())
    }

    /// Resume a task and wait for its next stop. It gets no signals, but for what its own instructions raise.
    pub(super) fn resume(&mut self, stopped: Stopped, how: Resume) -> Result<(Stopped, Stop), Error> {
        let mut stopped = stopped;
        loop {
            let running = stopped.resume(how, 0)?;
            let stop;
            (stopped, stop) = match self.wait_for_running(running)? {
                Wait::Stopped(stopped, stop) => (stopped, stop),
                Wait::Dead(death) => {
                    return Err(self.differs("a task that goes on".into(), format!("{death:?}")));
                }
            };
            if self.has_locked(&stopped, stop)? {
                continue;
            }
            if stop == Stop::Seccomp && !self.clock.area().log_is_taken() {
                let registers = stopped.registers()?;
                if !matches!(registers.number() as usize, SYS_TICK | SYS_HELLO) {
                    return Err(self.unlogged(&registers));
                }
            }
            if !matches!(stop, Stop::Signal(_)) || is_fault(&stopped.signal_info()?) {
                return Ok((stopped, stop));
            }
        }
    }

    pub(super) fn wait(&mut self, running: Running) -> Result<Wait, Error> {
        let since = Instant::now();
        loop {
            match running.wait()? {
                Waited::Done(wait) => return Ok(wait),
                Waited::NotYet => self.check_patience(since)?,
            }
        }
    }

    /// Nothing has happened `since` then: whether to go on waiting.
    pub(super) fn check_patience(&self, since: Instant) -> Result<(), Error> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        if since.elapsed() > self.options.patience {
            let found = format!("none within {:?}", self.options.patience);
            return Err(self.differs("a next event".into(), found));
        }
        Ok(())
    }

    /// A task must be where the recorded one was, and have made the calls that it made.
    pub(super) fn check(&self, expected: &Position, registers: &Registers) -> Result<(), Error> {
        let found = self.clock.position(registers);
        if !self.clock.area().log_is_taken() {
            return Err(self.differs("calls that do not stop".into(), found.to_string()));
        }
        let _ = self.clock.area().give_log(&[]);
        if found == *expected { Ok(()) } else { Err(self.differs(expected.to_string(), found.to_string())) }
    }

    pub(super) fn found(&self, stop: Stop, registers: &Registers) -> String {
        let what = match stop {
            Stop::Seccomp if registers.number() == SYS_TICK as u64 => "the end of the timeslice".to_owned(),
            Stop::Seccomp if registers.number() == SYS_READ as u64 => self.unlogged_read(registers),
            Stop::Seccomp => format!("system call {}", crate::syscalls::name(registers.number())),
            Stop::Signal(signal) => format!("signal {signal}"),
            other => format!("{other:?}"),
        };
        format!("{what} at {:#x}, {} ticks left", registers.ip(), self.clock.left())
    }

    pub(super) fn differs(&self, expected: String, found: String) -> Error {
        let name = self.tasks[self.current.0 as usize].name.clone();
        Error::Diverged(Box::new(Divergence { event: self.index, task: self.current, name, expected, found }))
    }

    /// The trace asks for what cannot be: it is not one that our recorder wrote.
    pub(super) fn misplaced(&self, expected: &str, found: &str) -> Error {
        misplaced(self.index, expected, found)
    }
}

/// The runtime says that it is there.
pub(super) fn hello(stopped: &Stopped, mut registers: Registers) -> Result<(), Error> {
    registers.set_number(u64::MAX);
    registers.set_result(1);
    stopped.set_registers(&registers)
}

fn misplaced(event: u64, expected: &str, found: &str) -> Error {
    Error::Diverged(Box::new(Divergence {
        event,
        task: TaskId(0),
        name: String::new(),
        expected: expected.into(),
        found: found.into(),
    }))
}

/// A new process's name: the program's file name, cut to what the kernel keeps (proc_pid_comm(5)).
pub(super) fn program_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).chars().take(THREAD_NAME).collect()
}
