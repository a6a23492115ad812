//! Stops a task in the middle of user code, where nothing counts its steps.
//!
//! A task that spins or computes without compiled-in ticks must still lose the core: it may wait for another task, a
//! signal may be pending for it, and the time limit applies to it too. After a short time without a tick it is to stop
//! at its next one ([`Event::Cut`]). If none comes, it is stopped where it is (an *asynchronous stop*), with the
//! registers and memory by which replay recognizes the place in the log. The steps up to there are not counted, so
//! replay compares at every pass, using a breakpoint whose condition is evaluated in the process itself
//! ([`Breakpoint`]).
//!
//! The first moment since the last event at which *everything* is equal is always right: between two equal states of a
//! task that runs alone and gets no input the execution is a loop, and one more iteration changes nothing. But not
//! everything is compared, only the general registers, flags, vector registers up to AVX's, the countdown, and memory:
//!
//! - Before a place is accepted, the task goes on for a moment with the breakpoint armed. If it passes again with equal
//!   registers, memory is compared with what it was: words that have changed distinguish the passes and become part of
//!   the condition; if none has changed, the task loops, and its first pass in replay is as good as this one.
//! - When the condition holds in replay, replay also compares digests of the task's stack, the data of the program and
//!   its libraries, and other private memory ([`Snapshot`] says how much).
//!
//! What remains is a state that recurs after longer than that moment, with all this equal, and yet different memory
//! beyond the digests' bounds or different AVX-512 (or later) registers. Replay would stop too early, and the next
//! event would show it. A trace counts as verified only after a replay, so such a trace would not.
//!
//! While the breakpoint is armed, the code differs from the program's by a jump, which a program that reads its own
//! code there would see.

use std::time::{Duration, Instant};

use rrtest_preload::layout::{Decides, SYS_TICK};

use super::snapshot::Snapshot;
use crate::clock::Clock;
use crate::record::in_process::hand_over::HandOver;
use crate::record::options::Options;
use crate::record::progress::async_stops::At;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::Clocks;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::task::TaskId;
use crate::trace::event::{AsyncStop, Event};
use crate::tracee::{
    Area, Breakpoint, Condition, Placement, Registers, Resume, Running, SignalSet, Stop, Stopped, WaitStatus,
    cpu_time, end_of_string, is_fault,
};

/// How long a task may take to reach a tick before it is stopped where it is.
const GRACE: Duration = Duration::from_millis(5);

/// How long a task goes on to see whether it returns to the same place in the same state.
const TRIAL: Duration = Duration::from_millis(10);

/// How often changed memory is added to the condition, and how many words each time.
const ROUNDS: usize = 6;
const WORDS: usize = 4;

/// Signals that instructions raise. If one of them is blocked, the kernel kills instead of running a handler
/// (`force_sig`).
const FAULTS: SignalSet =
    SignalSet::of(&[libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS]);

/// Steps that a task is moved on at most to a place where a breakpoint fits, and to the best kind of place.
const STEPS: usize = 128;
const BEST_STEPS: usize = 32;

/// How a task in user code has stopped.
#[derive(Debug)]
pub(in crate::record) enum UserStop {
    /// By itself, for this reason.
    Stopped(Stopped, Stop),
    /// Where it was; the place is in the log.
    AsyncStopped(Stopped),
}

/// What a task did during its trial.
enum Trial {
    /// It returned to the same place with the same registers.
    Recurred(Stopped),
    /// It did not, so far.
    Elsewhere(Stopped),
    /// It stopped for another reason.
    Left(Stopped, Stop),
}

impl Recorder<'_> {
    /// Waits for the next stop of a task that runs user code, or stops it where it is when it has run for too long. If
    /// it hands the core to another task meanwhile, the result is about that task.
    pub(in crate::record) fn watch(&mut self, id: TaskId, running: Running) -> Flow<(TaskId, UserStop)> {
        let mut running = running;
        self.code.hand_over.wake_up_in_time(&self.tasks, &self.time.clocks)?;
        loop {
            // Signals may come more often than the timer goes off.
            if !self.tasks[id].deferred.is_empty() && self.has_no_patience(id)? {
                return self.async_stop(id, running);
            }
            // Wait until the timer goes off again.
            running = match self.next_stop(id, running)? {
                Ok((id, stopped, stop)) => return Ok((id, UserStop::Stopped(stopped, stop))),
                Err(running) => running,
            };
            if self.over()? {
                return self.ran_to_the_end(id, running);
            }
            if self.has_no_patience(id)? {
                return self.async_stop(id, running);
            }
        }
    }

    /// Whether a task has computed without a tick for as long as it may while something waits for the core.
    fn has_no_patience(&mut self, id: TaskId) -> Flow<bool> {
        let Ok(now) = cpu_time(self.tasks[id].pid) else { return Ok(false) };
        let waited_for = self.time.clocks.is_waited_for(self.options, &self.tasks, &self.clock, id)?;
        let at = At { task: id, events: self.journal.log.count(), left: self.clock.left() };
        Ok(self.progress.async_stops.has_no_patience(waited_for.then_some(at), now))
    }

    /// Waits for the next stop of the task that runs user code, unless the wake-up timer goes off first.
    fn next_stop(&mut self, id: TaskId, running: Running) -> Flow<Result<(TaskId, Stopped, Stop), Running>> {
        if self.code.hand_over.decides == Decides::All {
            return Ok(self.wait_for_running()?.ok_or(running));
        }
        let stop = self.wait_until(id, running, Some(Instant::now()))?;
        Ok(stop.map(|(stopped, stop)| (id, stopped, stop)))
    }

    /// Stops the task that runs user code, `id` or a later one, at its next tick if that comes soon, or else where it
    /// is.
    pub(in crate::record) fn async_stop(&mut self, id: TaskId, running: Running) -> Flow<(TaskId, UserStop)> {
        let (id, stopped, stop) = self.stop_running(id, running)?;
        Ok((id, self.stop_async(id, stopped, stop)?))
    }

    /// Pins a stopped task undisturbed by signals: the kernel keeps them back meanwhile.
    fn stop_async(&mut self, id: TaskId, stopped: Stopped, stop: Stop) -> Flow<UserStop> {
        // Inside a call the mask may be the call's own (sigsuspend(2)), and the kernel would lose the task's.
        if stop != Stop::Event || stopped.registers()?.number().cast_signed() >= 0 {
            return self.stop_undisturbed(id, stopped, stop);
        }
        let mask = stopped.signal_mask()?;
        stopped.set_signal_mask(mask | !FAULTS.0)?;
        // The program's own changes of the mask must stop.
        self.clock.area().set_masked(true);
        let watched = self.stop_undisturbed(id, stopped, stop)?;
        let (UserStop::Stopped(stopped, _) | UserStop::AsyncStopped(stopped)) = &watched;
        stopped.set_signal_mask(mask)?;
        Ok(watched)
    }

    fn stop_undisturbed(&mut self, id: TaskId, stopped: Stopped, stop: Stop) -> Flow<UserStop> {
        let (mut stopped, mut stop) = (stopped, stop);
        let (left, before) = (self.clock.left(), self.tasks.task(id).boundary.left);
        if stop == Stop::Event && self.clock.cut(1) {
            // The task is to stop at its next call, too, even if that would not stop otherwise.
            self.code.buffer.hurry(self.options, &self.tasks, &self.clock, &self.scheduler, id, true);
            let running = stopped.resume(Resume::Freely, 0)?;
            (stopped, stop) = self.wait_or_interrupt(id, running, GRACE)?;
            if stop == Stop::Seccomp {
                self.journal.log_cut(&self.clock, before - left + 1);
                self.tasks.task(id).boundary.left = before - left + 1;
            } else {
                self.clock.put_back(left);
                self.code.buffer.hurry(self.options, &self.tasks, &self.clock, &self.scheduler, id, false);
            }
        }
        // A number that is not negative means that it is inside a system call.
        if stop != Stop::Event || stopped.registers()?.number().cast_signed() >= 0 {
            return Ok(UserStop::Stopped(stopped, stop));
        }
        self.stop_here(id, stopped)
    }

    fn stop_here(&mut self, id: TaskId, stopped: Stopped) -> Flow<UserStop> {
        let space = self.tasks.space(id);
        let (mut stopped, stop) = self.step_to_place(id, stopped)?;
        // The task will soon leave the buffer's code.
        if stop != Stop::Event || Area::is_buffer(stopped.registers()?.ip()) || !self.clock.unwatch() {
            return Ok(UserStop::Stopped(stopped, stop));
        }
        let (mut addresses, mut key, mut cycles) = (vec![Area::CURSOR, Area::COUNTDOWN], None, false);
        let mut vectors = stopped.vectors()?;
        let mut memory = Snapshot::take(stopped.tid(), &space.memory, stopped.registers()?.sp())?;
        for _ in 0..ROUNDS {
            let registers = stopped.registers()?.of_user_code();
            match self.try_place(id, stopped, &registers, &addresses)? {
                Trial::Recurred(at) => {
                    stopped = at;
                    let now = Snapshot::take(stopped.tid(), &space.memory, registers.sp())?;
                    cycles = now == memory && stopped.vectors()? == vectors;
                    // The countdown and the cursor stay last: they hardly distinguish anything.
                    addresses.splice(0..0, now.changed_since(&memory, WORDS));
                    (memory, vectors) = (now, stopped.vectors()?);
                    if cycles {
                        break;
                    }
                }
                Trial::Elsewhere(at) => {
                    let stop;
                    (stopped, stop) = self.come_back(id, at, registers.ip())?;
                    if stop != Stop::Event {
                        return Ok(UserStop::Stopped(stopped, stop));
                    }
                    let now = stopped.registers()?.of_user_code();
                    memory = Snapshot::take(stopped.tid(), &space.memory, now.sp())?;
                    vectors = stopped.vectors()?;
                    if now.ip() == registers.ip() {
                        key = now.changed_since(&registers);
                        break;
                    }
                }
                Trial::Left(at, stop) => return Ok(UserStop::Stopped(at, stop)),
            }
        }
        // A task for which a signal is pending may be waiting for it.
        let signalled = !self.tasks.task(id).deferred.is_empty();
        self.progress.async_stops.async_stopped(id, cycles || signalled);
        let registers = stopped.registers()?.of_user_code();
        stopped.set_registers(&registers)?;
        let words = self.tasks.words(id, &addresses)?;
        self.take_buffered();
        self.journal.log.push(Event::AsyncStop(AsyncStop {
            position: self.clock.position(&registers),
            registers,
            key,
            words,
            memory: memory.digests(),
            vectors,
        }));
        Ok(UserStop::AsyncStopped(stopped))
    }

    /// Moves a task on to an instruction where a breakpoint fits, if there is one nearby. The stop is [`Stop::Event`]
    /// then.
    fn step_to_place(&mut self, id: TaskId, stopped: Stopped) -> Flow<(Stopped, Stop)> {
        let space = self.tasks.space(id);
        let mut stopped = stopped;
        for step in 0..STEPS {
            let least = if step < BEST_STEPS { Placement::Best } else { Placement::Good };
            let ip = stopped.registers()?.ip();
            if Placement::at(&space.memory, ip) >= least {
                break;
            }
            let stop;
            (stopped, stop) = match end_of_string(&space.memory, ip) {
                Some(end) => self.go_to(id, stopped, end)?,
                None => self.step_once(id, stopped)?,
            };
            if stop != Stop::Signal(libc::SIGTRAP) {
                return Ok((stopped, stop));
            }
        }
        Ok((stopped, Stop::Event))
    }

    /// Single-steps a task.
    fn step_once(&mut self, id: TaskId, stopped: Stopped) -> Flow<(Stopped, Stop)> {
        match stopped.resume(Resume::Step, 0)?.wait_soon()? {
            WaitStatus::Stopped(stopped, stop) => Ok((stopped, stop)),
            WaitStatus::Dead(death) => self.died(id, death),
        }
    }

    /// Lets a task run to an instruction, for a moment. It stops there with SIGTRAP.
    fn go_to(&mut self, id: TaskId, stopped: Stopped, address: u64) -> Flow<(Stopped, Stop)> {
        stopped.break_at(Some(address))?;
        let running = stopped.resume(Resume::Freely, 0)?;
        let (stopped, stop) = self.wait_or_interrupt(id, running, TRIAL)?;
        stopped.break_at(None)?;
        Ok((stopped, stop))
    }

    /// Runs a task back to a place where it has been, or else to another place where a breakpoint fits. The stop is
    /// [`Stop::Event`] then.
    fn come_back(&mut self, id: TaskId, stopped: Stopped, site: u64) -> Flow<(Stopped, Stop)> {
        let (stopped, stop) = self.go_to(id, stopped, site)?;
        if stop == Stop::Signal(libc::SIGTRAP) && stopped.registers()?.ip() == site {
            Ok((stopped, Stop::Event))
        } else if stop == Stop::Event {
            self.step_to_place(id, stopped)
        } else {
            Ok((stopped, stop))
        }
    }

    /// Lets a task go on for a moment from a place where it has these registers.
    fn try_place(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        registers: &Registers,
        addresses: &[u64],
    ) -> Flow<Trial> {
        let space = self.tasks.space(id);
        let words = self.tasks.words(id, addresses)?;
        let condition = Condition { registers: *registers, vectors: stopped.vectors()?, words, key: None };
        let (mut stopped, breakpoint) = Breakpoint::arm(stopped, &space.memory, &condition)?;
        let since = Instant::now();
        // The first hit is where it stands already.
        let mut passes = 0;
        loop {
            let running = stopped.resume(Resume::Freely, 0)?;
            let stop;
            (stopped, stop) = self.wait_or_interrupt(id, running, TRIAL)?;
            let hit = breakpoint.hit(stop, &stopped.registers()?);
            if hit {
                passes += 1;
                let same = breakpoint.registers(&stopped, &space.memory)?.of_user_code() == *registers;
                if same && passes > 1 {
                    return Ok(Trial::Recurred(breakpoint.disarm(stopped, &space.memory)?));
                }
                if since.elapsed() < TRIAL {
                    continue;
                }
            } else if let Stop::Signal(_) = stop {
                let info = stopped.signal_info()?;
                if !is_fault(&info) {
                    self.tasks.task(id).deferred.push(info);
                    continue;
                }
            }
            let stopped = breakpoint.disarm(stopped, &space.memory)?;
            return Ok(match stop {
                Stop::Seccomp => Trial::Left(stopped, stop),
                Stop::Signal(libc::SIGTRAP) if !hit => {
                    return self.tasks.unsupported(id, "a trap of its own while it was watched");
                }
                // A fault recurs when the task goes on.
                Stop::Signal(_) if !hit => Trial::Left(stopped, Stop::Event),
                _ => Trial::Elsewhere(stopped),
            });
        }
    }

    /// Ends a program whose time is over while a task runs user code, at a place where the task can be stopped.
    pub(in crate::record) fn ran_to_the_end<T>(&mut self, id: TaskId, running: Running) -> Flow<T> {
        let (id, watched) = self.async_stop(id, running)?;
        let before = self.tasks.task(id).boundary.left;
        let stopped = match watched {
            UserStop::AsyncStopped(stopped) => stopped,
            UserStop::Stopped(stopped, Stop::Seccomp) => {
                self.note_stop(id, &stopped.registers()?);
                stopped
            }
            UserStop::Stopped(stopped, _) => {
                self.clock.put_back(before);
                stopped
            }
        };
        self.tasks.hold(id, Hold::Ready(stopped));
        self.hung(Some(id))
    }

    /// Logs that a task has reached a tick or a call.
    pub(in crate::record) fn note_stop(&mut self, id: TaskId, registers: &Registers) {
        self.take_buffered();
        if registers.number() as usize == SYS_TICK {
            self.journal.note_tick(&self.tasks, &mut self.clock, id, registers);
        } else {
            self.journal.stats.syscalls += 1;
            self.clock.call(registers.number());
            self.journal.log.push(Event::Entered(self.clock.position(registers)));
        }
    }
}

impl HandOver {
    /// Sets the wake-up timer to the end of the next sleep: tasks that hand the core to each other do not check for it.
    fn wake_up_in_time(&self, tasks: &Tasks, clocks: &Clocks) -> Flow<()> {
        if let Some((at, _)) = tasks.deadlines.earliest().filter(|_| self.decides == Decides::All) {
            tasks.children.wake_up_timer.next(Duration::from_nanos(at.saturating_sub(clocks.now()?)));
        }
        Ok(())
    }
}

impl Clocks {
    /// Whether other tasks could have the core, or a signal is pending for this task.
    pub(in crate::record) fn is_waited_for(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        id: TaskId,
    ) -> Flow<bool> {
        let watchdog = |task: TaskId| options.watchdog_main && task == TaskId(0);
        let awake = match tasks.deadlines.earliest() {
            Some((at, task)) => !watchdog(task) && at <= self.now()?,
            None => false,
        };
        let signalled = !tasks[id].deferred.is_empty();
        let woken = clock.area().has_notes();
        Ok(awake || signalled || woken || tasks.runnable().iter().any(|task| !watchdog(*task)))
    }
}

impl Tasks {
    /// Handles a task that was stopped where it is: another task may get the core, or a signal may be delivered.
    pub(in crate::record) fn async_stopped(
        &mut self,
        clock: &Clock,
        id: TaskId,
        stopped: Stopped,
    ) -> Flow<Next> {
        let registers = stopped.registers()?;
        self.mark(clock, id, &registers);
        self.hold(id, Hold::Ready(stopped));
        self.send_deferred(id)?;
        // It probably waits for another task in a loop.
        Ok(Next::Decide(Why::Yielded, None))
    }

    fn words(&self, id: TaskId, addresses: &[u64]) -> Flow<Vec<(u64, u64)>> {
        let space = self.space(id);
        addresses.iter().map(|&address| Ok((address, space.memory.u64(address)?))).collect()
    }
}
