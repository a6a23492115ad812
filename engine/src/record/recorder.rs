//! The recorder's loop: pick a task, run it to where another could be picked.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rand_xoshiro::rand_core::RngCore;
use rrtest_preload::calls::{self, KERNEL};
use rrtest_preload::layout::{Kind, SYS_HELLO, SYS_READ, SYS_TICK};
use rrtest_preload::objects;

use super::futex::Futexes;
use super::in_process::InProcess;
use super::journal::Journal;
use super::kernel::fds::{self, Fds};
use super::options::Options;
use super::outside::Outside;
use super::preempt::Preemption;
use super::preempt::pin::Watched;
use super::scheduler::Scheduler;
use super::start::image;
use super::start::start_up::StartUp;
use super::step::{Flow, Halt, Next};
use super::surprises::Surprises;
use super::time::Times;
use super::timers::alarms::Alarms;
use super::tree::call::{Call, Outcome, Waited as CallWait};
use super::tree::children::Children;
use super::tree::natively::Natively;
use super::tree::tasks::{Hold, Origin, Space, Task, Tasks};
use super::waiting::poller::Poller;
use crate::clock::Clock;
use crate::ending::Ending;
use crate::error::Error;
use crate::program::Program;
use crate::schedule::{Found, Lookout, Operation, Point, Why};
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::trace::log::Log;
use crate::tracee::{
    self, Death, Launched, Leash, Registers, Resume, Running, State, Stop, Stopped, Wait, Waited, state,
};

/// A recording in the making.
pub(super) struct Recorder<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) scheduler: Scheduler,
    pub(super) preemption: Preemption,
    pub(super) surprises: Surprises,
    pub(super) futexes: Futexes,
    pub(super) time: Times,
    pub(super) poller: Poller,
    pub(super) outside: Outside,
    pub(super) code: InProcess,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(super) tasks: Tasks,
}

/// How often to look for signals that nobody has told of: those of timers, and of processes that are not recorded.
const LOOK: Duration = Duration::from_millis(20);

/// How long to wait at a time: short enough that a request to stop is soon noticed.
const WHILE: Duration = Duration::from_millis(20);

impl<'a> Recorder<'a> {
    /// Start the program; it stands before its first instruction. The clock is at zero.
    pub(super) fn start(
        program: &Program,
        options: &'a Options<'a>,
        clock: Clock,
        fds: Rc<Fds>,
    ) -> Result<Self, Error> {
        tracee::pin(options.core)?;
        tracee::raise_descriptor_limit();
        let mut start_up = StartUp::default();
        let mut at_random = [0; 16];
        start_up.random.fill_bytes(&mut at_random);
        let Launched { task, memory, leash } =
            tracee::launch(program, fds.streams(), clock.area(), at_random)?;
        let registers = task.registers()?;
        let tid = task.tid();
        let mut log = Log::default();
        let lines = tracee::maps(tid)?;
        let image = image::image(&program.path, &lines, registers, &memory, &mut log)?;
        start_up.linking = image::has_linker(&image);
        log.push(Event::Image(image));
        clock.area().load_buffer(rrtest_preload::BUFFER);
        log.push(Event::Buffer(rrtest_preload::BUFFER.to_vec()));
        let mut recorder = Self::new(options, clock, log, fds, leash)?;
        recorder.scheduler.start_up = Some(start_up);
        let space = Rc::new(Space::new(0, memory));
        let affinity = options.all_cores();
        let (name, natively) = (tracee::comm(tid), Natively::started());
        let id = recorder.adopt(task, Origin { pid: tid, space, name, clear_tid: 0, affinity, natively })?;
        match recorder.code.reads.move_reads_of_image(
            &recorder.tasks,
            &recorder.clock,
            &mut recorder.journal,
            &mut recorder.code.call_sites,
            id,
            &lines,
        ) {
            Err(Halt::Error(error)) => Err(error),
            _ => Ok(recorder),
        }
    }

    /// One that has no task yet.
    pub(super) fn new(
        options: &'a Options<'a>,
        clock: Clock,
        log: Log,
        fds: Rc<Fds>,
        leash: Leash,
    ) -> Result<Self, Error> {
        let mut scheduler = Scheduler::new(&options.plan);
        clock.area().set_random(scheduler.random.next_u64());
        Ok(Self {
            options,
            clock,
            journal: Journal { log, ..Journal::default() },
            scheduler,
            preemption: Preemption::new(options),
            surprises: Surprises::new(options),
            futexes: Futexes::default(),
            time: Times::default(),
            poller: Poller::new(fds),
            outside: Outside::default(),
            code: InProcess::default(),
            tasks: Tasks::new(Children::new(leash)?),
        })
    }

    /// A new task joins.
    pub(super) fn adopt(&mut self, task: Stopped, origin: Origin) -> Result<TaskId, Error> {
        let boundary = self.clock.position(&task.registers()?);
        let id = self.tasks.next();
        let (tid, hold) = (task.tid(), Hold::Ready(task));
        let scratch = self.tasks.slots.take();
        self.scheduler.join(
            &mut self.tasks,
            &self.clock,
            Task::new(id, tid, hold, origin, scratch, boundary),
        );
        self.journal.stats.tasks += 1;
        self.time.proc.note_birth(&self.time.clocks, tid);
        self.tasks.woken = true;
        Ok(id)
    }

    /// Run the program to its end.
    pub(super) fn run(&mut self) -> Result<Ending, Error> {
        let (mut why, mut next) = (Why::Start, None);
        self.look_at_reads();
        let ending = loop {
            let halt = match self.step(why, next) {
                Ok(answer) => {
                    (why, next) = answer;
                    continue;
                }
                Err(Halt::Error(error)) if error.is_about_the_dead() => match self.wait_for_killed() {
                    Ok(true) => Halt::Gone,
                    Ok(false) => Halt::Error(error),
                    Err(halt) => halt,
                },
                Err(halt) => halt,
            };
            match halt {
                Halt::Gone => (why, next) = (Why::Exited, None),
                Halt::Ending(ending) => break Ok(ending),
                Halt::Error(error) => break Err(error),
            }
        };
        self.futexes.take_buffered(&self.clock, &mut self.journal, &mut self.scheduler);
        self.journal.stats.ticks = self.clock.total();
        self.journal.measured.ticks = self.journal.stats.ticks;
        if self.surprises.has_lost_time() {
            self.journal.measured.waited = 0;
        }
        self.tasks.bury();
        ending
    }

    /// Pick a task and run it until the strategy is to be asked again.
    pub(super) fn step(&mut self, why: Why, next: Option<Operation>) -> Flow<(Why, Option<Operation>)> {
        self.follow()?;
        self.code.hand_over.waits = 0;
        loop {
            self.take_early()?;
            self.collect_ready()?;
            if !self.tasks.children.early.is_empty() {
                continue;
            }
            if std::mem::take(&mut self.tasks.children.look_again) && self.over()? {
                return self.hung(self.tasks.current);
            }
            if !self.tasks.runnable().is_empty() {
                self.let_time_pass()?;
            }
            let current = self.tasks.current.filter(|_| why != Why::Start);
            if self.tasks.runnable().is_empty() {
                self.idle()?;
                continue;
            }
            if self.is_stalled()? {
                continue;
            }
            self.preemption.trial.goes_on();
            let ran = current.map_or(0, |_| self.clock.ran());
            let found = self.journal.found(&self.tasks, &self.clock, &mut self.scheduler, why);
            let runnable = self.surprises.caprice.awake(self.tasks.runnable());
            let choice = match self.scheduler.start_up {
                Some(_) => StartUp::CHOICE,
                None => self.scheduler.strategy.decide(Point { current, why, ran, next, found }, &runnable),
            };
            let can_run = runnable.binary_search(&choice.task).is_ok();
            let preempts = current.is_some_and(|c| c != choice.task && runnable.binary_search(&c).is_ok());
            if let Some(current) = current {
                self.scheduler.note_turn(&self.tasks, &self.clock, current);
            }
            if !can_run || choice.slice == 0 {
                return Err(Halt::Error(Error::Os {
                    what: "choose the next task".into(),
                    source: std::io::Error::other(format!("the strategy answered {choice:?}")),
                }));
            }
            self.journal.stats.preemptions += u64::from(preempts);
            self.futexes.take_buffered(&self.clock, &mut self.journal, &mut self.scheduler);
            self.clock.start(choice.slice);
            let measure =
                Some(Lookout::MEASURE).filter(|_| self.options.measure && self.scheduler.start_up.is_none());
            if let Some(lookout) = choice.lookout.or(measure) {
                self.clock.watch(&lookout.watch(choice.task));
            }
            self.tasks.task(choice.task).boundary.left = choice.slice;
            self.journal.log.push(Event::Run { task: choice.task, slice: choice.slice, preempts });
            self.tasks.woken = false;
            self.tasks.current = Some(choice.task);
            return self.turn(choice.task);
        }
    }

    /// Run one task until the strategy is to be asked, or the one to which it has handed the core over.
    fn turn(&mut self, mut id: TaskId) -> Flow<(Why, Option<Operation>)> {
        loop {
            let next = self.go_on(id);
            // What the next call finds may be something else.
            self.poller.look_again();
            let next = next?;
            id = self.tasks.current.unwrap_or(id);
            self.settle()?;
            match next {
                Next::Continue
                    if self.tasks.woken || self.tasks.restless || !self.tasks.children.early.is_empty() =>
                {
                    self.journal.note_entered(&mut self.tasks, &self.clock, id);
                    return Ok((Why::Woken, None));
                }
                Next::Continue if self.over()? => {
                    self.journal.note_entered(&mut self.tasks, &self.clock, id);
                    return self.hung(Some(id));
                }
                Next::Continue | Next::Stay => {}
                Next::Decide(why, operation) => {
                    self.journal.note_entered(&mut self.tasks, &self.clock, id);
                    return Ok((why, operation));
                }
            }
        }
    }

    /// Have a task do what it is held for.
    fn go_on(&mut self, id: TaskId) -> Flow<Next> {
        match self.tasks.release(id) {
            Hold::Ready(stopped) => self.go(id, stopped),
            Hold::Calling(stopped, call) => self.call(id, stopped, call),
            Hold::Again(stopped, call) => self.again(id, stopped, call),
            Hold::Woken(stopped, call, result) => {
                let outcome = Outcome::result(result);
                self.journal.skip(&mut self.tasks, &self.clock, id, stopped, &call, outcome)
            }
            Hold::Unparked(running) => self.go_unparked(id, running),
            Hold::Returned(stopped, call) => self.returned(id, stopped, &call),
            hold => {
                self.tasks.hold(id, hold);
                Ok(Next::Decide(Why::Blocked, None))
            }
        }
    }

    /// Let a task run user code until it stops.
    fn go(&mut self, id: TaskId, stopped: Stopped) -> Flow<Next> {
        self.go_with(id, stopped, 0)
    }

    /// The same, with the signal that it is about to get.
    pub(super) fn go_with(&mut self, id: TaskId, stopped: Stopped, signal: i32) -> Flow<Next> {
        self.prepare_buffer(id);
        self.code.reads.prepare_reads(&mut self.tasks, &self.clock, &self.scheduler, id)?;
        let running = stopped.resume(Resume::Freely, signal)?;
        self.goes(id, running)
    }

    /// A task runs user code: up to its next stop, or that of the task to which it hands the core over.
    pub(super) fn goes(&mut self, id: TaskId, running: Running) -> Flow<Next> {
        let (id, watched) = self.watch(id, running)?;
        self.follow()?;
        self.tasks.task(id).robust_list = self.clock.area().robust_list();
        let (stopped, stop) = match watched {
            Watched::Stopped(stopped, stop) => (stopped, stop),
            Watched::Pinned(stopped) => return self.tasks.pinned(&self.clock, id, stopped),
        };
        match stop {
            Stop::Seccomp => self.arrive(id, stopped),
            Stop::Signal(signal) => self.signal(id, stopped, signal),
            Stop::Group(_) => self.futexes.stopped_by_signal(
                &mut self.tasks,
                &mut self.poller,
                &self.time.clocks,
                id,
                stopped,
                None,
            ),
            // A stray interruption: not the program's doing.
            _ => {
                self.tasks.hold(id, Hold::Ready(stopped));
                Ok(Next::Stay)
            }
        }
    }

    /// A task has come to a system call, or to what the runtime uses one for.
    fn arrive(&mut self, id: TaskId, stopped: Stopped) -> Flow<Next> {
        let mut registers = stopped.registers()?;
        match registers.number() as usize {
            SYS_READ => return self.drain(id, stopped, registers),
            // It is no event: the log goes on.
            SYS_HELLO => {
                registers.set_number(u64::MAX);
                registers.set_result(1);
                stopped.set_registers(&registers)?;
                self.tasks.hold(id, Hold::Ready(stopped));
                return Ok(Next::Stay);
            }
            _ => {}
        }
        self.futexes.take_buffered(&self.clock, &mut self.journal, &mut self.scheduler);
        self.code.hand_over.waits = self.clock.area().take_waits();
        self.futexes.sharing.has_changed(id);
        let hurried = self.code.buffer.was_hurried();
        match registers.number() as usize {
            SYS_TICK => {
                let met = self.journal.note_tick(&self.tasks, &mut self.clock, id, &registers);
                self.tasks.mark(&self.clock, id, &registers);
                self.tasks.send_deferred(id)?;
                self.tasks.hold(id, Hold::Ready(stopped));
                let why = if met { Why::Met } else { Why::SliceOver };
                let (address, kind) = self.clock.area().tick_touches();
                let writes = objects::writes(kind);
                Ok(Next::Decide(why, Some(Operation::Memory { address, writes })))
            }
            _ => {
                self.journal.stats.syscalls += 1;
                let number = registers.number();
                let over = self.clock.call(number);
                let met = self.poller.meets(&self.tasks, &mut self.clock, &mut self.journal, id, &registers);
                self.scheduler.note_call(&self.clock, number);
                self.code.call_sites.patch(
                    &mut self.tasks,
                    &self.clock,
                    &mut self.journal,
                    id,
                    &stopped,
                    &mut registers,
                )?;
                self.tasks.mark(&self.clock, id, &registers);
                self.tasks.task(id).arrived = Some(registers);
                let hold = self.tasks.in_front_of(id, stopped, Call::new(registers))?;
                self.tasks.hold(id, hold);
                if self.scheduler.has_started(self.options, &self.tasks, id, &registers) {
                    return Ok(Next::Decide(Why::Start, None));
                }
                if over {
                    return Ok(Next::Decide(Why::SliceOver, Some(Operation::Syscall(number))));
                }
                if let Some(kind) = met {
                    let writes = objects::writes(kind as u64);
                    let touch = Operation::Memory { address: KERNEL, writes };
                    return Ok(Next::Decide(Why::Met, Some(touch)));
                }
                if hurried || !crate::syscalls::ticks(number) && self.too_quiet(id)? {
                    return Ok(Next::Decide(Why::Yielded, None));
                }
                Ok(Next::Continue)
            }
        }
    }

    /// Wait until this task stops, whatever the others that are in the kernel do meanwhile.
    pub(super) fn wait(&mut self, id: TaskId, running: Running) -> Flow<(Stopped, Stop)> {
        let before = self.clock.left();
        match self.wait_until(id, running, None)? {
            Ok(stop) => Ok(stop),
            Err(running) => self.ran_too_long(id, running, before),
        }
    }

    /// The same up to a moment, roughly, or the time limit: then it still runs.
    pub(super) fn wait_until(
        &mut self,
        id: TaskId,
        running: Running,
        until: Option<Instant>,
    ) -> Flow<Result<(Stopped, Stop), Running>> {
        let tid = running.tid();
        loop {
            match running.wait()? {
                Waited::Done(Wait::Stopped(stopped, stop)) => return Ok(Ok((stopped, stop))),
                Waited::Done(Wait::Dead(death)) => return self.died(id, death),
                // The kernel keeps back the end of a process's first thread until all are gone.
                Waited::NotYet if state(tid) == State::Dead => {
                    return self.died(id, Death::Killed(libc::SIGKILL));
                }
                Waited::NotYet if self.over()? || until.is_some_and(|until| Instant::now() >= until) => {
                    return Ok(Err(running));
                }
                Waited::NotYet => {
                    self.poller.poll_watches(&mut self.tasks)?;
                    self.poll_kernel()?;
                }
            }
        }
    }

    /// Nothing can run: wait for the kernel or the clock, or see that nothing will ever happen.
    fn idle(&mut self) -> Flow<()> {
        let (since, before) = (Instant::now(), self.time.clocks.now()?);
        self.wait_a_while()?;
        self.journal.measured.waited += self.time.clocks.now()?.saturating_sub(before);
        // Whatever exceeds this is not the program's time.
        self.preemption.trial.stands_still(since.elapsed().min(WHILE + WHILE / 4));
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.over()? || self.nothing_can_happen_in_time()? { self.hung(None) } else { Ok(()) }
    }

    fn wait_a_while(&mut self) -> Flow<()> {
        const MOMENT: Duration = Duration::from_millis(1);
        let now = self.time.clocks.now()?;
        let (earliest, alarm) = (self.tasks.deadlines.earliest(), self.time.alarms.next(now));
        let next = earliest.map(|(at, _)| at).into_iter().chain(alarm).min();
        let left = Duration::from_nanos(next.unwrap_or(u64::MAX).saturating_sub(now));
        if self.leap_if_idle(next, now)? {
            return if self.over()? { self.hung(None) } else { Ok(()) };
        }
        // It takes some time where there are many tasks.
        if left > MOMENT {
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.tasks.someone_in_kernel() && self.poller.is_empty() {
            self.tasks.children.heartbeat.next(left);
            match tracee::wait_any()? {
                Waited::Done((tid, wait)) => self.left_kernel(tid, wait)?,
                Waited::NotYet
                    if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                        && self.stuck()? =>
                {
                    return self.deadlock();
                }
                Waited::NotYet => {}
            }
        } else if self.tasks.someone_in_kernel() || !self.poller.is_empty() {
            // Nothing tells of both.
            let longest = if self.tasks.someone_in_kernel() { MOMENT } else { WHILE };
            self.poller.wait(left.min(longest));
            self.poller.poll_watches(&mut self.tasks)?;
            self.poll_kernel()?;
            if self.tasks.runnable().is_empty()
                && self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                && self.stuck()?
            {
                return self.deadlock();
            }
        } else if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now) {
            return self.deadlock();
        } else {
            std::thread::sleep(left.min(WHILE));
        }
        Ok(())
    }

    fn deadlock(&mut self) -> Flow<()> {
        let states = self.states(None);
        Err(Halt::Ending(Ending::Deadlocked(states)))
    }

    /// Tasks whose sleep is over, or whose wait in the kernel has ended, can run again.
    pub(super) fn collect_ready(&mut self) -> Flow<()> {
        if self.tasks.deadlines.earliest().is_some() {
            let now = self.time.clocks.now()?;
            for id in self.tasks.deadlines.expired(now) {
                if !self.is_late(id, now) {
                    self.futexes.expire(&mut self.tasks, &mut self.poller, id);
                }
            }
        }
        self.time.alarms.send_alarms(
            self.options,
            &mut self.tasks,
            &mut self.futexes,
            &mut self.poller,
            &self.time.clocks,
        )?;
        if Instant::now() >= self.tasks.children.look {
            self.tasks.children.look = Instant::now() + LOOK;
            self.tasks.children.look_again = true;
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        self.poller.poll_watches(&mut self.tasks)?;
        self.poll_kernel()
    }
}

impl Scheduler {
    /// A new task is one of ours.
    pub(super) fn join(&mut self, tasks: &mut Tasks, clock: &Clock, task: Task) {
        let id = task.id;
        match task.slot() {
            Some(slot) => clock.area().clear_slot(slot),
            None => tasks.crowded = true,
        }
        tasks.add(task);
        self.strategy.spawned(id);
        self.note_turn(tasks, clock, id);
    }
}

impl Journal {
    /// A task that loses the core in front of a call must have come just as far in replay.
    fn note_entered(&mut self, tasks: &mut Tasks, clock: &Clock, id: TaskId) {
        let Some(call) = tasks.task(id).call_mut() else { return };
        if call.wait == CallWait::Ready {
            // Others may take what it waited for: it has to look again.
            call.wait = CallWait::No;
        }
        if !std::mem::replace(&mut call.entered, true) {
            self.note_arrival(tasks, clock, id);
        }
    }

    /// The running task's timeslice ends where it is. Whether there was something left of it.
    fn cut_short(&mut self, tasks: &Tasks, clock: &mut Clock, id: TaskId) -> bool {
        let left = clock.left();
        let short = clock.cut_short();
        if short {
            let before = tasks[id].boundary.left;
            self.log_cut(clock, before.saturating_sub(left));
        }
        short
    }

    /// A call that a task has come to counts: the log must tell of it, if it does not yet.
    pub(super) fn note_arrival(&mut self, tasks: &mut Tasks, clock: &Clock, id: TaskId) {
        if let Some(registers) = tasks.task(id).arrived.take() {
            self.log.push(Event::Entered(clock.position(&registers)));
        }
    }

    /// A task has stopped at a tick: the last of its timeslice, or one that was worth a stop. For replay its timeslice ends
    /// there in any case. Whether it has stopped early.
    pub(super) fn note_tick(
        &mut self,
        tasks: &Tasks,
        clock: &mut Clock,
        id: TaskId,
        registers: &Registers,
    ) -> bool {
        let met = self.cut_short(tasks, clock, id);
        self.log.push(Event::Tick(clock.position(registers)));
        met
    }

    /// What has been found on the lookout since the last decision.
    fn found(&mut self, tasks: &Tasks, clock: &Clock, scheduler: &mut Scheduler, why: Why) -> Found {
        let area = clock.area();
        let drawn = if why == Why::Met { area.drawn() } else { 0 };
        self.found_up_to(tasks, scheduler, area.events(), drawn)
    }

    /// The same, when so many operations had been counted.
    pub(super) fn found_up_to(
        &mut self,
        tasks: &Tasks,
        scheduler: &mut Scheduler,
        events: u64,
        drawn: u64,
    ) -> Found {
        let before = std::mem::replace(&mut scheduler.events, events);
        let events = events.saturating_sub(before);
        if let Some(current) = tasks.current {
            self.measured.count(current, events);
        }
        Found { events, drawn }
    }
}

impl Poller {
    /// A task has come to a call. If it is watched, and is to stop in front of it, then its timeslice ends there: what
    /// the call does to what the kernel keeps. Output is not the kernel's.
    fn meets(
        &mut self,
        tasks: &Tasks,
        clock: &mut Clock,
        journal: &mut Journal,
        id: TaskId,
        registers: &Registers,
    ) -> Option<Kind> {
        let looked = clock.area().take_met();
        if !clock.is_watching() || clock.left() == 0 {
            return None;
        }
        let args = registers.args();
        let is_file = || self.kind(tasks, id, args[0]) == fds::Kind::Ready;
        let kind = calls::call(registers.number()).touches(&args, is_file)?;
        let counts =
            looked || self.output_stream(tasks, id, registers).is_none() && clock.area().look(KERNEL, kind);
        (counts && journal.cut_short(tasks, clock, id)).then_some(kind)
    }
}

impl Tasks {
    /// A task's address space.
    pub(super) fn space(&self, id: TaskId) -> Rc<Space> {
        Rc::clone(&self[id].space)
    }

    pub(super) fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self[id]
    }

    /// End the recording: the task does what cannot be recorded.
    pub(super) fn unsupported<T>(&mut self, id: TaskId, what: impl Into<String>) -> Flow<T> {
        let name = self.task(id).name.clone();
        Err(Halt::Ending(Ending::Unsupported { what: what.into(), task: id, name }))
    }

    /// A task that is about to make a call has a signal, and must not wait long.
    pub(super) fn look_soon(&mut self) {
        self.children.look = Instant::now();
    }

    pub(super) fn someone_in_kernel(&self) -> bool {
        !self.in_kernel().is_empty()
    }
}

impl Futexes {
    /// Whether no task sleeps until a time, and no timer will send a signal. The sleep of a harness that only watches the
    /// others does not count.
    pub(super) fn nothing_due(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        alarms: &mut Alarms,
        now: u64,
    ) -> bool {
        if alarms.next(now).is_some() {
            return false;
        }
        let watchdog = |task: TaskId| options.watchdog_main && task == TaskId(0) && tasks.next() > TaskId(1);
        let Some((_, task)) = tasks.deadlines.earliest() else { return true };
        watchdog(task) && tasks.deadlines.only(task) && self.table.waiting(task).is_some()
    }
}
