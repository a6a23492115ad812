//! The loop: pick a task, run it until another could be picked.

use rrtest_preload::calls::{self, KERNEL};
use rrtest_preload::layout::{AccessKind, SYS_HELLO, SYS_READ, SYS_TICK};
use rrtest_preload::objects;

use super::journal::Journal;
use super::kernel::fds;
use super::poller::Poller;
use super::preempt::async_stop::UserStop;
use super::recorder::Recorder;
use super::start::start_up::StartUp;
use super::step::{Flow, Halt, Next, bug};
use super::tree::call::{Call, Outcome};
use super::tree::task::Hold;
use super::tree::tasks::Tasks;
use crate::clock::Clock;
use crate::ending::Ending;
use crate::error::Error;
use crate::schedule::{AccessWatch, Operation, Point, StrategyName, Why};
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::tracee::{Registers, Resume, Running, Stop, Stopped, cpu_time};

impl Recorder<'_> {
    /// Runs the program to its end.
    pub(in crate::record) fn run(&mut self) -> Result<Ending, Error> {
        let (mut why, mut next) = (Why::Start, None);
        self.look_at_reads();
        let ending = loop {
            let halt = match self.step(why, next) {
                Ok(answer) => {
                    (why, next) = answer;
                    continue;
                }
                Err(Halt::Error(error @ Error::Gone { .. })) => match self.wait_for_killed() {
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
        self.journal.stats.ticks = self.clock.total();
        self.journal.measured.ticks = self.journal.stats.ticks;
        if self.surprises.has_lost_time() {
            self.journal.measured.waited = 0;
        }
        self.tasks.reap_orphans();
        ending
    }

    /// Picks a task and runs it until the strategy is to be asked again.
    pub(in crate::record) fn step(
        &mut self,
        why: Why,
        next: Option<Operation>,
    ) -> Flow<(Why, Option<Operation>)> {
        self.follow()?;
        self.begin()?;
        self.code.hand_over.waits = 0;
        loop {
            self.futexes.keys.check()?;
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
            self.progress.trial.goes_on();
            let ran = current.map_or(0, |_| self.clock.ran());
            let found = self.journal.found(&self.tasks, &self.clock, &mut self.scheduler, why);
            let runnable = self.surprises.under_way.awake(self.tasks.runnable());
            let choice = match self.scheduler.start_up {
                Some(_) => StartUp::CHOICE,
                None => self.scheduler.strategy.decide(Point { current, why, ran, next, found }, &runnable),
            };
            if self.options.plan.strategy == StrategyName::Guided && self.scheduler.start_up.is_none() {
                self.scheduler.orders.next_is(&self.tasks, current, next, choice.task);
            }
            if let Some(spot) = self.scheduler.strategy.mark() {
                let told = self.clock.area().tick_touches();
                self.marks.note(&self.tasks, &self.code.call_sites, spot, next, told);
            }
            let can_run = runnable.binary_search(&choice.task).is_ok();
            let preempts = current.is_some_and(|c| c != choice.task && runnable.binary_search(&c).is_ok());
            if let Some(current) = current {
                self.scheduler.note_turn(&self.tasks, &self.clock, current);
            }
            if !can_run || choice.slice == 0 {
                return Err(bug(format!("the strategy has chosen {choice:?} from {runnable:?}")));
            }
            self.journal.stats.preemptions += u64::from(preempts);
            self.take_buffered();
            self.clock.start(choice.slice);
            let measure = Some(AccessWatch::MEASURE)
                .filter(|_| self.options.measure && self.scheduler.start_up.is_none());
            if let Some(access_watch) = choice.access_watch.or(measure) {
                self.clock.watch(&access_watch.watch(choice.task));
            }
            self.tasks.task(choice.task).boundary.left = choice.slice;
            self.journal.log.push(Event::Run { task: choice.task, slice: choice.slice, preempts });
            self.tasks.woken = false;
            self.tasks.current = Some(choice.task);
            return self.turn(choice.task);
        }
    }

    /// Runs a task, or those to which it hands the core, until the strategy is to be asked.
    pub(in crate::record) fn turn(&mut self, mut id: TaskId) -> Flow<(Why, Option<Operation>)> {
        loop {
            let next = self.go_on(id);
            // Descriptors may have changed by the next call.
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

    /// Makes a task do what it is held for.
    pub(in crate::record) fn go_on(&mut self, id: TaskId) -> Flow<Next> {
        match self.tasks.release(id) {
            Hold::Ready(stopped) => self.go(id, stopped),
            Hold::Calling(stopped, call) => self.call(id, stopped, call),
            Hold::Again(stopped, call) => self.again(id, stopped, call),
            Hold::Woken(stopped, call, result) => {
                let outcome = Outcome::result(result);
                self.skip(id, stopped, &call, outcome)
            }
            Hold::Unparked(running) => self.go_unparked(id, running),
            Hold::Returned(stopped, call) => self.returned(id, stopped, &call),
            hold => {
                self.tasks.hold(id, hold);
                Ok(Next::Decide(Why::Blocked, None))
            }
        }
    }

    /// Lets a task run user code until it stops.
    pub(in crate::record) fn go(&mut self, id: TaskId, stopped: Stopped) -> Flow<Next> {
        self.go_with(id, stopped, 0)
    }

    /// Lets a task run user code until it stops, delivering `signal` first.
    pub(in crate::record) fn go_with(&mut self, id: TaskId, stopped: Stopped, signal: i32) -> Flow<Next> {
        self.prepare_buffer(id);
        self.code.reads.prepare_reads(&mut self.tasks, &self.clock, &self.scheduler, id)?;
        let running = stopped.resume(Resume::Freely, signal)?;
        self.goes(id, running)
    }

    /// Handles the next stop of a task that runs user code, or of the task to which it hands the core.
    pub(in crate::record) fn goes(&mut self, id: TaskId, running: Running) -> Flow<Next> {
        let (id, watched) = self.watch(id, running)?;
        self.follow()?;
        self.tasks.task(id).robust_list = self.clock.area().robust_list();
        let (stopped, stop) = match watched {
            UserStop::Stopped(stopped, stop) => (stopped, stop),
            UserStop::AsyncStopped(stopped) => return self.tasks.async_stopped(&self.clock, id, stopped),
        };
        match stop {
            Stop::Seccomp => self.arrive(id, stopped),
            Stop::Signal(signal) => match self.signal(id, stopped, signal)? {
                Ok(next) => Ok(next),
                Err(stopped) => self.go_with(id, stopped, signal),
            },
            Stop::Group(_) => self.futexes.stopped_by_signal(
                &mut self.tasks,
                &mut self.poller,
                &self.time.clocks,
                id,
                stopped,
                None,
            ),
            // A stray interruption, not caused by the program.
            _ => {
                self.tasks.hold(id, Hold::Ready(stopped));
                Ok(Next::Stay)
            }
        }
    }

    /// Handles a task's stop at a system call, or at one of the made-up calls of runtime and buffer.
    pub(in crate::record) fn arrive(&mut self, id: TaskId, stopped: Stopped) -> Flow<Next> {
        let mut registers = stopped.registers()?;
        match registers.number() as usize {
            SYS_READ => return self.drain(id, stopped, registers),
            // This is no event: the log goes on.
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
        self.code.hand_over.waits = self.clock.area().take_waits();
        self.futexes.keys.has_changed(id);
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

    /// Gives the core to a parked task.
    pub(in crate::record) fn go_unparked(&mut self, id: TaskId, running: Running) -> Flow<Next> {
        self.prepare_buffer(id);
        if let Some(slot) = self.tasks[id].slot() {
            self.clock.area().give_turn(slot)?;
        }
        self.goes(id, running)
    }

    /// Runs the program until it has started up. Returns its ending if it does not get that far.
    pub(in crate::record) fn start_up(&mut self) -> Result<Option<Ending>, Error> {
        while self.scheduler.start_up.is_some() {
            match self.step(Why::Start, None) {
                Ok(_) | Err(Halt::Gone) => {}
                Err(Halt::Ending(ending)) => return Ok(Some(ending)),
                Err(Halt::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a task, which has come to a call that is no tick, has been quiet for too long while others wait for the
    /// core.
    pub(in crate::record) fn too_quiet(&mut self, id: TaskId) -> Flow<bool> {
        let pid = self.tasks[id].pid;
        if !self.progress.tickless.is_too_long(id, self.clock.left(), || cpu_time(pid)) {
            return Ok(false);
        }
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        self.time.clocks.is_waited_for(self.options, &self.tasks, &self.clock, id)
    }
}

impl Poller {
    /// Ends the timeslice of a watched task before a call that is worth a stop because of what it does to kernel state.
    /// Output does not count.
    pub(in crate::record) fn meets(
        &mut self,
        tasks: &Tasks,
        clock: &mut Clock,
        journal: &mut Journal,
        id: TaskId,
        registers: &Registers,
    ) -> Option<AccessKind> {
        let looked = clock.area().take_met();
        if !clock.is_watching() || clock.left() == 0 {
            return None;
        }
        let args = registers.args();
        let is_file = || self.kind(tasks, id, args[0]) == fds::FdKind::Ready;
        let kind = calls::call(registers.number()).touches(&args, is_file)?;
        let counts =
            looked || self.output_stream(tasks, id, registers).is_none() && clock.area().look(KERNEL, kind);
        (counts && journal.cut_short(tasks, clock, id)).then_some(kind)
    }
}
