//! The recorder's loop: pick a task, run it to where another could be picked.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use rrtest_preload::calls::{self, KERNEL};
use rrtest_preload::layout::{Decides, Kind, SYS_HELLO, SYS_READ, SYS_TICK};
use rrtest_preload::objects;

use super::deadlock::locks::Takers;
use super::deadlock::stuck::Pace;
use super::futex::inherit::Holders;
use super::futex::sharing::Sharing;
use super::in_process::buffer::Buffer;
use super::in_process::call_sites::CallSites;
use super::in_process::reads::Reads;
use super::kernel::fds::{self, Fds};
use super::options::Options;
use super::outside::claims::Claimed;
use super::outside::reach::Reach;
use super::preempt::overdue::Trial;
use super::preempt::pin::{Pins, Watched};
use super::preempt::quiet::Quiet;
use super::signals::groups::Sent;
use super::start::image;
use super::start::start_up::StartUp;
use super::step::{Flow, Halt, Next};
use super::surprises::delays::Caprice;
use super::surprises::strikes::Strikes;
use super::surprises::yields::Spells;
use super::time::abroad::Abroad;
use super::time::clocks::Clocks;
use super::time::files::Stamped;
use super::time::ipc::IpcTimes;
use super::time::proc::ProcTimes;
use super::timers::alarms::Alarms;
use super::tree::call::{Call, Waited as CallWait};
use super::tree::natively::Natively;
use super::tree::slots::Slots;
use super::tree::tasks::{Hold, Origin, Space, Task, Tasks};
use super::waiting::watches::Watches;
use crate::clock::Clock;
use crate::ending::{Ending, Stats};
use crate::error::Error;
use crate::output::Output;
use crate::program::Program;
use crate::schedule::deadline::Deadlines;
use crate::schedule::futex::FutexTable;
use crate::schedule::portfolio::Measured;
use crate::schedule::surprise::Dice;
use crate::schedule::{self, Found, Lookout, Operation, Point, Strategy, Why};
use crate::task::TaskId;
use crate::trace::event::{Event, Write};
use crate::trace::log::Log;
use crate::tracee::{
    self, Death, Heartbeat, Launched, Leash, Registers, Resume, Running, State, Stop, Stopped, Wait, Waited,
    state,
};

/// A recording in the making.
pub(super) struct Recorder<'a> {
    pub(super) options: &'a Options<'a>,
    pub(super) clock: Clock,
    pub(super) log: Log,
    pub(super) output: Output,
    pub(super) stats: Stats,
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) random: Xoshiro256PlusPlus,
    /// As long as the program starts up.
    pub(super) start_up: Option<StartUp>,
    pub(super) tasks: Tasks,
    pub(super) futexes: FutexTable,
    pub(super) deadlines: Deadlines,
    pub(super) clocks: Clocks,
    pub(super) stamped: Stamped,
    pub(super) ipc_times: IpcTimes,
    pub(super) proc_times: ProcTimes,
    pub(super) abroad: Abroad,
    pub(super) claimed: Claimed,
    pub(super) dice: Dice,
    pub(super) caprice: Caprice,
    pub(super) spells: Spells,
    pub(super) strikes: Strikes,
    /// Times that time has leapt.
    pub(super) leaps: u64,
    /// The program has made timers that are descriptors.
    pub(super) timerfds: bool,
    pub(super) fds: Rc<Fds>,
    pub(super) heartbeat: Heartbeat,
    pub(super) alarms: Alarms,
    /// When to look for signals that nobody has told of.
    look: Instant,
    /// And whether the time is over: between two tasks' turns there may be no wait that asks.
    look_again: bool,
    /// Last, so that it is dropped last: it kills what is left of the program.
    pub(super) leash: Leash,
    pub(super) pins: Pins,
    pub(super) quiet: Quiet,
    pub(super) trial: Trial,
    /// Stops of new tasks that were seen before their parents told of them.
    pub(super) newborn: Vec<(Pid, Wait)>,
    /// How many address spaces there have been.
    pub(super) spaces: u32,
    /// The task that has the core.
    pub(super) current: Option<TaskId>,
    /// Processes that have ended.
    pub(super) ended: Vec<Pid>,
    pub(super) sharing: Sharing,
    pub(super) watches: Watches,
    pub(super) holders: Holders,
    /// What a call has written into the memory of other tasks, to be logged behind it.
    pub(super) elsewhere: Vec<(TaskId, Vec<Write>)>,
    pub(super) sent: Sent,
    /// The inodes of the program's socket pairs, each with the other one's.
    pub(super) pairs: BTreeMap<u64, u64>,
    pub(super) reach: Reach,
    pub(super) takers: Takers,
    pub(super) pace: Pace,
    pub(super) slots: Slots,
    pub(super) buffer: Buffer,
    pub(super) call_sites: CallSites,
    pub(super) reads: Reads,
    /// What is decided in the process.
    pub(super) decides: Decides,
    /// How often a task has gone on since one has handed the core over to another, where there are many.
    pub(super) since_handed: u32,
    /// There has been a task without a slot: the process does not know all that it would take to decide.
    pub(super) crowded: bool,
    /// A task that is parked has signals that were kept back.
    pub(super) restless: bool,
    /// Stops and ends of tasks that did not have the core, which are to be looked at.
    pub(super) early: Vec<(Pid, Wait)>,
    /// A call has been made since the tasks in the kernel were last looked at.
    pub(super) unsettled: bool,
    /// A task has become able to run since the last decision.
    pub(super) woken: bool,
    /// Ticks of all tasks when one has last made a call, other than sched_yield(2).
    pub(super) last_call: u64,
    /// The futex that the running task has come to wait for, if its word is known to have the value for that.
    pub(super) waits: u64,
    /// What had been counted on the lookout at the last decision.
    events: u64,
    /// What later recordings of the program can make use of.
    pub(super) measured: Measured,
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
        let mut recorder = Self { start_up: Some(start_up), ..Self::new(options, clock, log, fds, leash)? };
        let space = Rc::new(Space::new(0, memory));
        let affinity = recorder.all_cores();
        let (name, natively) = (tracee::comm(tid), Natively::started());
        let id = recorder.adopt(task, Origin { pid: tid, space, name, clear_tid: 0, affinity, natively })?;
        match recorder.move_reads_of_image(id, tid, &lines) {
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
        let mut random = Xoshiro256PlusPlus::seed_from_u64(options.plan.seed);
        clock.area().set_random(random.next_u64());
        Ok(Self {
            options,
            clock,
            log,
            output: Output::default(),
            stats: Stats::default(),
            strategy: schedule::build(&options.plan),
            random,
            start_up: None,
            tasks: Tasks::default(),
            futexes: FutexTable::default(),
            deadlines: Deadlines::default(),
            clocks: Clocks::default(),
            stamped: Stamped::default(),
            ipc_times: IpcTimes::default(),
            proc_times: ProcTimes::default(),
            abroad: Abroad::default(),
            claimed: Claimed::default(),
            dice: Dice::new(options.surprises, options.plan.seed),
            caprice: Caprice::default(),
            spells: Spells::default(),
            strikes: Strikes::default(),
            leaps: 0,
            timerfds: false,
            fds,
            heartbeat: Heartbeat::start()?,
            alarms: Alarms::default(),
            look: Instant::now(),
            look_again: false,
            leash,
            pins: Pins::default(),
            quiet: Quiet::default(),
            trial: Trial::new(options),
            newborn: Vec::new(),
            spaces: 1,
            current: None,
            ended: Vec::new(),
            slots: Slots::default(),
            buffer: Buffer::default(),
            call_sites: CallSites::default(),
            reads: Reads::default(),
            unsettled: false,
            decides: Decides::Nothing,
            since_handed: 0,
            crowded: false,
            restless: false,
            early: Vec::new(),
            sharing: Sharing::default(),
            watches: Watches::default(),
            holders: Holders::default(),
            elsewhere: Vec::new(),
            sent: Sent::default(),
            pairs: BTreeMap::new(),
            reach: Reach::default(),
            takers: Takers::default(),
            pace: Pace::default(),
            last_call: 0,
            woken: false,
            waits: 0,
            events: 0,
            measured: Measured::default(),
        })
    }

    /// A new task joins.
    pub(super) fn adopt(&mut self, task: Stopped, origin: Origin) -> Result<TaskId, Error> {
        let boundary = self.clock.position(&task.registers()?);
        let id = self.tasks.next();
        let (tid, hold) = (task.tid(), Hold::Ready(task));
        let scratch = self.slots.take();
        self.join(Task::new(id, tid, hold, origin, scratch, boundary));
        self.stats.tasks += 1;
        self.note_birth(tid);
        self.woken = true;
        Ok(id)
    }

    /// A new task is one of ours.
    pub(super) fn join(&mut self, task: Task) {
        let id = task.id;
        match task.slot() {
            Some(slot) => self.clock.area().clear_slot(slot),
            None => self.crowded = true,
        }
        self.tasks.add(task);
        self.strategy.spawned(id);
        self.note_turn(id);
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
        self.take_buffered();
        self.stats.ticks = self.clock.total();
        self.measured.ticks = self.stats.ticks;
        if self.has_lost_time() {
            self.measured.waited = 0;
        }
        self.bury();
        ending
    }

    /// Pick a task and run it until the strategy is to be asked again.
    pub(super) fn step(&mut self, why: Why, next: Option<Operation>) -> Flow<(Why, Option<Operation>)> {
        self.follow()?;
        self.waits = 0;
        loop {
            self.take_early()?;
            self.collect_ready()?;
            if !self.early.is_empty() {
                continue;
            }
            if std::mem::take(&mut self.look_again) && self.over()? {
                return self.hung(self.current);
            }
            if !self.tasks.runnable().is_empty() {
                self.let_time_pass()?;
            }
            let current = self.current.filter(|_| why != Why::Start);
            if self.tasks.runnable().is_empty() {
                self.idle()?;
                continue;
            }
            if self.is_stalled()? {
                continue;
            }
            self.trial.goes_on();
            let ran = current.map_or(0, |_| self.clock.ran());
            let found = self.found(why);
            let runnable = self.caprice.awake(self.tasks.runnable());
            let choice = match self.start_up {
                Some(_) => StartUp::CHOICE,
                None => self.strategy.decide(Point { current, why, ran, next, found }, &runnable),
            };
            let can_run = runnable.binary_search(&choice.task).is_ok();
            let preempts = current.is_some_and(|c| c != choice.task && runnable.binary_search(&c).is_ok());
            if let Some(current) = current {
                self.note_turn(current);
            }
            if !can_run || choice.slice == 0 {
                return Err(Halt::Error(Error::Os {
                    what: "choose the next task".into(),
                    source: std::io::Error::other(format!("the strategy answered {choice:?}")),
                }));
            }
            self.stats.preemptions += u64::from(preempts);
            self.take_buffered();
            self.clock.start(choice.slice);
            let measure = Some(Lookout::MEASURE).filter(|_| self.options.measure && self.start_up.is_none());
            if let Some(lookout) = choice.lookout.or(measure) {
                self.clock.watch(&lookout.watch(choice.task));
            }
            self.task(choice.task).boundary.left = choice.slice;
            self.log.push(Event::Run { task: choice.task, slice: choice.slice, preempts });
            self.woken = false;
            self.current = Some(choice.task);
            return self.turn(choice.task);
        }
    }

    /// Run one task until the strategy is to be asked, or the one to which it has handed the core over.
    fn turn(&mut self, mut id: TaskId) -> Flow<(Why, Option<Operation>)> {
        loop {
            let next = match self.tasks.release(id) {
                Hold::Ready(stopped) => self.go(id, stopped)?,
                Hold::Calling(stopped, call) => self.call(id, stopped, call)?,
                Hold::Again(stopped, call) => self.again(id, stopped, call)?,
                Hold::Woken(stopped, call, result) => self.skip(id, stopped, &call, result, Vec::new())?,
                Hold::Unparked(running) => self.go_unparked(id, running)?,
                Hold::Returned(stopped, call) => self.returned(id, stopped, &call)?,
                hold => {
                    self.tasks.hold(id, hold);
                    return Ok((Why::Blocked, None));
                }
            };
            id = self.current.unwrap_or(id);
            self.settle()?;
            match next {
                Next::Continue if self.woken || self.restless || !self.early.is_empty() => {
                    self.note_entered(id);
                    return Ok((Why::Woken, None));
                }
                Next::Continue if self.over()? => {
                    self.note_entered(id);
                    return self.hung(Some(id));
                }
                Next::Continue | Next::Stay => {}
                Next::Decide(why, operation) => {
                    self.note_entered(id);
                    return Ok((why, operation));
                }
            }
        }
    }

    /// A task that loses the core in front of a call must have come just as far in replay.
    fn note_entered(&mut self, id: TaskId) {
        let Some(call) = self.task(id).call_mut() else { return };
        if call.wait == CallWait::Ready {
            // Others may take what it waited for: it has to look again.
            call.wait = CallWait::No;
        }
        if !std::mem::replace(&mut call.entered, true) {
            self.note_arrival(id);
        }
    }

    /// A task has come to a call. If it is watched, and is to stop in front of it, then its timeslice ends there: what
    /// the call does to what the kernel keeps. Output is not the kernel's.
    fn meets(&mut self, id: TaskId, registers: &Registers) -> Option<Kind> {
        let looked = self.clock.area().take_met();
        if !self.clock.is_watching() || self.clock.left() == 0 {
            return None;
        }
        let args = registers.args();
        let is_file = || self.kind(id, args[0]) == fds::Kind::Ready;
        let kind = calls::call(registers.number()).touches(&args, is_file)?;
        let counts =
            looked || self.output_stream(id, registers).is_none() && self.clock.area().look(KERNEL, kind);
        (counts && self.cut_short(id)).then_some(kind)
    }

    /// The running task's timeslice ends where it is. Whether there was something left of it.
    fn cut_short(&mut self, id: TaskId) -> bool {
        let left = self.clock.left();
        let short = self.clock.cut_short();
        if short {
            let before = self.tasks[id].boundary.left;
            self.log_cut(before.saturating_sub(left));
        }
        short
    }

    /// A call that a task has come to counts: the log must tell of it, if it does not yet.
    pub(super) fn note_arrival(&mut self, id: TaskId) {
        if let Some(registers) = self.task(id).arrived.take() {
            self.log.push(Event::Entered(self.clock.position(&registers)));
        }
    }

    /// A task has stopped at a tick: the last of its timeslice, or one that was worth a stop. For replay its timeslice ends
    /// there in any case. Whether it has stopped early.
    pub(super) fn note_tick(&mut self, id: TaskId, registers: &Registers) -> bool {
        let met = self.cut_short(id);
        self.log.push(Event::Tick(self.clock.position(registers)));
        met
    }

    /// What has been found on the lookout since the last decision.
    fn found(&mut self, why: Why) -> Found {
        let area = self.clock.area();
        let drawn = if why == Why::Met { area.drawn() } else { 0 };
        self.found_up_to(area.events(), drawn)
    }

    /// The same, when so many operations had been counted.
    pub(super) fn found_up_to(&mut self, events: u64, drawn: u64) -> Found {
        let before = std::mem::replace(&mut self.events, events);
        let events = events.saturating_sub(before);
        if let Some(current) = self.current {
            self.measured.count(current, events);
        }
        Found { events, drawn }
    }

    /// Let a task run user code until it stops.
    fn go(&mut self, id: TaskId, stopped: Stopped) -> Flow<Next> {
        self.go_with(id, stopped, 0)
    }

    /// The same, with the signal that it is about to get.
    pub(super) fn go_with(&mut self, id: TaskId, stopped: Stopped, signal: i32) -> Flow<Next> {
        self.prepare_buffer(id);
        self.prepare_reads(id)?;
        let running = stopped.resume(Resume::Freely, signal)?;
        self.goes(id, running)
    }

    /// A task runs user code: up to its next stop, or that of the task to which it hands the core over.
    pub(super) fn goes(&mut self, id: TaskId, running: Running) -> Flow<Next> {
        let (id, watched) = self.watch(id, running)?;
        self.follow()?;
        self.task(id).robust_list = self.clock.area().robust_list();
        let (stopped, stop) = match watched {
            Watched::Stopped(stopped, stop) => (stopped, stop),
            Watched::Pinned(stopped) => return self.pinned(id, stopped),
        };
        match stop {
            Stop::Seccomp => self.arrive(id, stopped),
            Stop::Signal(signal) => self.signal(id, stopped, signal),
            Stop::Group(_) => self.stopped_by_signal(id, stopped, None),
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
        self.take_buffered();
        self.waits = self.clock.area().take_waits();
        self.sharing.has_changed(id);
        let hurried = self.was_hurried();
        match registers.number() as usize {
            SYS_TICK => {
                let met = self.note_tick(id, &registers);
                self.mark(id, &registers);
                self.send_deferred(id)?;
                self.tasks.hold(id, Hold::Ready(stopped));
                let why = if met { Why::Met } else { Why::SliceOver };
                let (address, kind) = self.clock.area().tick_touches();
                let writes = objects::writes(kind);
                Ok(Next::Decide(why, Some(Operation::Memory { address, writes })))
            }
            _ => {
                self.stats.syscalls += 1;
                let number = registers.number();
                let over = self.clock.call(number);
                let met = self.meets(id, &registers);
                self.note_call(number);
                self.patch(id, &stopped, &mut registers)?;
                self.mark(id, &registers);
                self.task(id).arrived = Some(registers);
                let hold = self.in_front_of(id, stopped, Call::new(registers))?;
                self.tasks.hold(id, hold);
                if self.has_started(id, &registers) {
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

    /// A task's address space.
    pub(super) fn space(&self, id: TaskId) -> Rc<Space> {
        Rc::clone(&self.tasks[id].space)
    }

    pub(super) fn task(&mut self, id: TaskId) -> &mut Task {
        &mut self.tasks[id]
    }

    /// End the recording: the task does what cannot be recorded.
    pub(super) fn unsupported<T>(&mut self, id: TaskId, what: impl Into<String>) -> Flow<T> {
        let name = self.task(id).name.clone();
        Err(Halt::Ending(Ending::Unsupported { what: what.into(), task: id, name }))
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
                    self.poll_watches()?;
                    self.poll_kernel()?;
                }
            }
        }
    }

    /// Nothing can run: wait for the kernel or the clock, or see that nothing will ever happen.
    fn idle(&mut self) -> Flow<()> {
        let (since, before) = (Instant::now(), self.clocks.now()?);
        let due = self.next_due(before);
        self.wait_a_while()?;
        // What comes later than it was due does so because the machine is busy: that is not what the program waits for.
        let longest = due.map_or(u64::MAX, |due| due.saturating_sub(before));
        self.measured.waited += self.clocks.now()?.saturating_sub(before).min(longest);
        // Whatever exceeds this is not the program's time.
        self.trial.stands_still(since.elapsed().min(WHILE + WHILE / 4));
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.over()? || self.nothing_can_happen_in_time()? { self.hung(None) } else { Ok(()) }
    }

    /// The next moment for which a task waits, or at which a timer sends a signal.
    fn next_due(&mut self, now: u64) -> Option<u64> {
        let (earliest, alarm) = (self.deadlines.earliest(), self.alarms.next(now));
        earliest.map(|(at, _)| at).into_iter().chain(alarm).min()
    }

    fn wait_a_while(&mut self) -> Flow<()> {
        const MOMENT: Duration = Duration::from_millis(1);
        let now = self.clocks.now()?;
        let next = self.next_due(now);
        let left = Duration::from_nanos(next.unwrap_or(u64::MAX).saturating_sub(now));
        if self.leap_if_idle(next, now)? {
            return if self.over()? { self.hung(None) } else { Ok(()) };
        }
        // It takes some time where there are many tasks.
        if left > MOMENT {
            self.look_for_signals()?;
        }
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.someone_in_kernel() && self.watches.is_empty() {
            self.heartbeat.next(left);
            match tracee::wait_any()? {
                Waited::Done((tid, wait)) => self.left_kernel(tid, wait)?,
                Waited::NotYet if self.nothing_due(now) && self.stuck()? => return self.deadlock(),
                Waited::NotYet => {}
            }
        } else if self.someone_in_kernel() || !self.watches.is_empty() {
            // Nothing tells of both.
            let longest = if self.someone_in_kernel() { MOMENT } else { WHILE };
            self.watches.wait(left.min(longest));
            self.poll_watches()?;
            self.poll_kernel()?;
            if self.tasks.runnable().is_empty() && self.nothing_due(now) && self.stuck()? {
                return self.deadlock();
            }
        } else if self.nothing_due(now) {
            return self.deadlock();
        } else {
            std::thread::sleep(left.min(WHILE));
        }
        Ok(())
    }

    /// Whether no task sleeps until a time, and no timer will send a signal. The sleep of a harness that only watches the
    /// others does not count.
    pub(super) fn nothing_due(&mut self, now: u64) -> bool {
        if self.alarms.next(now).is_some() {
            return false;
        }
        let watchdog =
            |task: TaskId| self.options.watchdog_main && task == TaskId(0) && self.tasks.next() > TaskId(1);
        let Some((_, task)) = self.deadlines.earliest() else { return true };
        watchdog(task) && self.deadlines.only(task) && self.futexes.waiting(task).is_some()
    }

    fn deadlock(&mut self) -> Flow<()> {
        let states = self.states(None);
        Err(Halt::Ending(Ending::Deadlocked(states)))
    }

    /// Tasks whose sleep is over, or whose wait in the kernel has ended, can run again.
    pub(super) fn collect_ready(&mut self) -> Flow<()> {
        if self.deadlines.earliest().is_some() {
            let now = self.clocks.now()?;
            for id in self.deadlines.expired(now) {
                if !self.is_late(id, now) {
                    self.expire(id);
                }
            }
        }
        self.send_alarms()?;
        if Instant::now() >= self.look {
            self.look = Instant::now() + LOOK;
            self.look_again = true;
            self.look_for_signals()?;
        }
        self.poll_watches()?;
        self.poll_kernel()
    }

    /// A task that is about to make a call has a signal, and must not wait long.
    pub(super) fn look_soon(&mut self) {
        self.look = Instant::now();
    }

    pub(super) fn someone_in_kernel(&self) -> bool {
        !self.tasks.in_kernel().is_empty()
    }
}
