//! Tasks that hand the core over among themselves, without a stop.
//!
//! Under a strategy whose decisions can be told beforehand ([`Strategy::turns`](crate::schedule::Strategy::turns)) a task that
//! begins to wait for a futex leaves the core to the next one itself, in the system-call buffer, if that is *parked* there,
//! too. The recorder sleeps meanwhile. When some task stops, it follows what they have noted: it carries out their waits and
//! wakes, and asks the strategy what it would have been asked, which answers as they have decided.
//!
//! Whoever comes to a wait with a stop is parked behind it, so that others need not stop for it. A parked task does not notice
//! what happens in the kernel, but for signals: for those it comes back to its call, and stands there as any other that
//! waits.

use std::time::Duration;

use nix::unistd::Pid;
use rrtest_preload::layout::{Decides, Note};

use crate::clock::Clock;
use crate::error::Error;
use crate::record::futex::Futexes;
use crate::record::journal::Journal;
use crate::record::options::Options;
use crate::record::recorder::Recorder;
use crate::record::scheduler::Scheduler;
use crate::record::step::{Flow, Halt, Next};
use crate::record::surprises::Surprises;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::{Hold, Tasks};
use crate::schedule::futex::ANY;
use crate::schedule::surprise::Surprise;
use crate::schedule::{Choice, Found, Point, Why};
use crate::task::TaskId;
use crate::trace::event::{Event, Parked};
use crate::tracee::{
    Area, Death, Member, Resume, Running, State, Stop, Stopped, Wait, Waited, state, wait_any,
};

/// What is known of hand-overs.
#[derive(Debug, Default)]
pub(in crate::record) struct HandOver {
    /// What is decided in the process.
    pub(in crate::record) decides: Decides,
    /// How often a task has gone on since one has handed the core over to another, where there are many.
    pub(in crate::record) since_handed: u32,
    /// The futex that the running task has come to wait for, if its word is known to have the value for that.
    pub(in crate::record) waits: u64,
}

impl Recorder<'_> {
    /// What the process must know to decide who runs, once this task goes on.
    pub(super) fn prepare_hand_over(&mut self, id: TaskId) {
        let turns = self
            .scheduler
            .strategy
            .turns()
            .filter(|_| self.surprises.may_decide(self.options, &self.tasks, &self.scheduler, id));
        self.code.hand_over.decides = match turns {
            None => Decides::Nothing,
            Some(_) if self.code.hand_over.is_worth_it(&self.tasks) => Decides::All,
            Some(_) => Decides::Wakes,
        };
        let task = &self.tasks[id];
        let area = self.clock.area();
        let slot = |id: TaskId| self.tasks[id].slot();
        self.futexes.table.crowds(|number, crowd, waiters| {
            area.set_crowd(number, crowd, waiters.len(), |at| slot(waiters[at].task));
        });
        area.set_running(Member {
            task: id.0,
            slot: task.slot(),
            pid: task.pid,
            tid: task.tid,
            affinity: task.affinity,
            robust_list: task.robust_list,
        });
        area.set_turns(task.space.number, self.code.hand_over.decides, turns);
        if self.code.hand_over.decides > Decides::Nothing
            && let Some(turns) = self.tasks.changed_turns()
        {
            self.clock.area().set_runnable(turns);
        }
    }

    /// Carry out what tasks have done without a stop, up to now.
    pub(in crate::record) fn follow(&mut self) -> Flow<()> {
        for note in self.clock.area().take_notes() {
            match note.to.checked_sub(1) {
                None => self.surprises.follow_wake(
                    &mut self.tasks,
                    &mut self.clock,
                    &mut self.scheduler,
                    &mut self.futexes,
                    note,
                )?,
                Some(to) => self.follow_wait(TaskId(to), note)?,
            }
        }
        Ok(())
    }

    /// The running task has begun to wait, and this one has got the core.
    fn follow_wait(&mut self, to: TaskId, note: Note) -> Flow<()> {
        let Some(id) = self.tasks.current else { return Ok(()) };
        let key = self.futexes.futex_key(&self.tasks, id, note.address, true);
        self.futexes.table.wait(key, id, ANY);
        if let Some(slot) = self.tasks[id].slot() {
            self.tasks.task(id).robust_list = self.clock.area().parked_robust_list(slot);
        }
        let running = Running::of_new(self.tasks[id].tid);
        self.tasks.hold(id, Hold::Parked(running));
        self.tasks.restless |= !self.tasks[id].deferred.is_empty();
        let ran = self.clock.handed_over(note.left, note.slice);
        let found = self.journal.found_up_to(&self.tasks, &mut self.scheduler, note.events, 0);
        let point = Point { current: Some(id), why: Why::Blocked, ran, next: None, found };
        let choice = self.scheduler.strategy.decide(point, self.tasks.runnable());
        same(choice, Choice::plain(to, note.slice))?;
        self.tasks.woken = false;
        self.code.hand_over.since_handed = 0;
        self.tasks.current = Some(to);
        let _parked = self.tasks.release(to);
        self.tasks.task(to).boundary.left = note.slice;
        Ok(())
    }

    /// Wait until the task that has the core stops, whoever that is by then. None if a signal (the heartbeat) has come first.
    pub(in crate::record) fn wait_for_running(&mut self) -> Flow<Option<(TaskId, Stopped, Stop)>> {
        let has_core = |this: &Self, tid: Pid| {
            let task = this.tasks.with_tid(tid);
            task.is_some_and(|task| task.id.0 == this.clock.area().running())
        };
        // One that was stopped as it got the core.
        let (tid, wait) = match self.tasks.children.early.iter().position(|(tid, _)| has_core(self, *tid)) {
            Some(at) => self.tasks.children.early.swap_remove(at),
            None => match wait_any()? {
                Waited::Done((tid, wait)) if has_core(self, tid) => (tid, wait),
                Waited::Done(other) => {
                    self.tasks.children.early.push(other);
                    self.clock.area().decide_no_more();
                    return Ok(None);
                }
                Waited::NotYet => {
                    // There may be something to do: a time has come, or somebody outside has something to say.
                    let area = self.clock.area();
                    area.decide_no_more();
                    let id = TaskId(area.running());
                    if state(self.tasks[id].tid) == State::Dead {
                        self.follow()?;
                        return self.died(id, Death::Killed(libc::SIGKILL));
                    }
                    return Ok(None);
                }
            },
        };
        self.follow()?;
        let id = self.tasks.with_tid(tid).map(|task| task.id);
        match (id, wait) {
            (Some(id), Wait::Stopped(stopped, stop)) => Ok(Some((id, stopped, stop))),
            (Some(id), Wait::Dead(death)) => self.died(id, death),
            (None, _) => Err(crate::record::step::unexpected("follow the running thread")),
        }
    }

    /// Stop the task that runs user code, whoever that is by then.
    pub(in crate::record) fn stop_running(
        &mut self,
        id: TaskId,
        running: Running,
    ) -> Flow<(TaskId, Stopped, Stop)> {
        if self.code.hand_over.decides < Decides::All {
            let (stopped, stop) = self.interrupt(id, running)?;
            return Ok((id, stopped, stop));
        }
        /// A task that is about to hand the core over has so long until the next look.
        const MOMENT: Duration = Duration::from_micros(100);
        loop {
            self.clock.area().decide_no_more();
            let id = TaskId(self.clock.area().running());
            Running::of_new(self.tasks[id].tid).interrupt();
            match self.wait_for_running()? {
                Some((_, stopped, Stop::Event)) if self.clock.area().is_deciding() => {
                    self.tasks.children.heartbeat.next(MOMENT);
                    stopped.resume(Resume::Freely, 0)?;
                }
                Some(stop) => {
                    self.code.hand_over.decides = Decides::Nothing;
                    return Ok(stop);
                }
                None => {}
            }
        }
    }

    /// A decision is due. Tasks that did not have the core may have stopped or ended meanwhile, and one may have begun to wait
    /// with a signal that was kept back.
    pub(in crate::record) fn take_early(&mut self) -> Flow<()> {
        if std::mem::take(&mut self.tasks.restless) {
            let restless =
                self.tasks.living().filter(|task| task.hold().parked() && !task.deferred.is_empty());
            for id in restless.map(|task| task.id).collect::<Vec<_>>() {
                let running = Running::of_new(self.tasks[id].tid);
                running.interrupt();
                let (stopped, stop) = self.wait(id, running)?;
                self.tasks.keep_signal(id, &stopped, stop)?;
                self.rouse(id, stopped)?;
            }
        }
        for (tid, wait) in std::mem::take(&mut self.tasks.children.early) {
            let parked = self.tasks.with_tid(tid).filter(|task| task.hold().parked()).map(|task| task.id);
            match (parked, wait) {
                (Some(id), Wait::Stopped(stopped, stop)) => self.roused(id, stopped, stop)?,
                (_, wait) => self.left_kernel(tid, wait)?,
            }
        }
        Ok(())
    }

    /// A parked task has stopped.
    fn roused(&mut self, id: TaskId, stopped: Stopped, stop: Stop) -> Flow<()> {
        let Stop::Signal(number) = stop else {
            // What stops all of its process stops those that run.
            stopped.resume(Resume::Freely, 0)?;
            return Ok(());
        };
        let info = self.tasks.signal_info(id, &stopped)?;
        if self.does_nothing(&stopped, number)? {
            stopped.resume(Resume::Freely, 0)?;
            return Ok(());
        }
        self.tasks.task(id).deferred.push(info);
        self.rouse(id, stopped)
    }

    /// There are signals for a parked task, which has been stopped.
    fn rouse(&mut self, id: TaskId, stopped: Stopped) -> Flow<()> {
        self.unpark(id, stopped)?;
        self.tasks.send_deferred(id)?;
        self.tasks.look_soon();
        Ok(())
    }

    /// A parked task comes back to its call.
    fn unpark(&mut self, id: TaskId, stopped: Stopped) -> Flow<()> {
        let Some(slot) = self.tasks[id].slot() else { return Ok(()) };
        let mut stopped = stopped;
        // It may have registers to put into its slot first.
        while !Area::is_parked(slot, &stopped.registers()?) {
            let running = stopped.resume(Resume::Step, 0)?;
            let stop;
            (stopped, stop) = self.wait(id, running)?;
            if stop != Stop::Signal(libc::SIGTRAP) {
                self.tasks.keep_signal(id, &stopped, stop)?;
            }
        }
        self.clock.area().unpark(&stopped, slot)?;
        let mut running = stopped.resume(Resume::Freely, 0)?;
        let stopped = loop {
            match self.wait(id, running)? {
                (stopped, Stop::Seccomp) => break stopped,
                (stopped, stop) => {
                    self.tasks.keep_signal(id, &stopped, stop)?;
                    running = stopped.resume(Resume::Freely, 0)?;
                }
            }
        };
        let call = Call { entered: true, ..Call::new(stopped.registers()?) };
        self.journal.log.push(Event::Unparked(id));
        let hold = match self.tasks.release(id) {
            Hold::Unparked(_) => Hold::Woken(stopped, call, 0),
            _ => Hold::Waiting(stopped, call),
        };
        self.tasks.hold(id, hold);
        Ok(())
    }

    /// A task waits for a futex from now on, at whose call it stands. It is parked if others can let it go on without a stop; the
    /// wait must be `plain`: for a private futex, without a time limit, and any wake ends it.
    pub(in crate::record) fn wait_parked(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: Call,
        plain: bool,
    ) -> Flow<Next> {
        let in_stub = Area::stub_at(call.registers.ip()).is_some();
        let may = plain
            && in_stub
            && self.scheduler.strategy.turns().is_some()
            && self.surprises.may_decide(self.options, &self.tasks, &self.scheduler, id);
        let Some(slot) = self.tasks[id].slot().filter(|_| may) else {
            self.tasks.hold(id, Hold::Waiting(stopped, call));
            return Ok(Next::Decide(Why::Blocked, None));
        };
        if !call.entered {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
        }
        self.journal.log.push(Event::Parked(Parked { task: id, slot }));
        let running = self.clock.area().park(stopped, &call.registers, slot)?;
        self.tasks.hold(id, Hold::Parked(running));
        Ok(Next::Decide(Why::Blocked, None))
    }

    /// A parked task has the core.
    pub(in crate::record) fn go_unparked(&mut self, id: TaskId, running: Running) -> Flow<Next> {
        self.prepare_buffer(id);
        if let Some(slot) = self.tasks[id].slot() {
            self.clock.area().give_turn(slot)?;
        }
        self.goes(id, running)
    }
}

impl HandOver {
    /// Who can hand the core over is waited for with all others, which takes the kernel the longer the more they are: where
    /// they are many they must do it often enough.
    fn is_worth_it(&mut self, tasks: &Tasks) -> bool {
        /// For so few it always is.
        const FEW: usize = 32;
        /// One hand-over is worth so many waits for all. Without any, one of so many is for all, to see.
        const WORTH: u32 = 8;
        if tasks.count() <= FEW {
            return true;
        }
        self.since_handed = self.since_handed.saturating_add(1);
        self.since_handed < WORTH || self.since_handed.is_multiple_of(WORTH)
    }
}

impl Surprises {
    fn may_decide(&self, options: &Options<'_>, tasks: &Tasks, scheduler: &Scheduler, id: TaskId) -> bool {
        let surprises = [Surprise::Spurious, Surprise::Order, Surprise::Stall];
        let surprised = surprises.iter().any(|kind| self.dice.have(*kind));
        !options.wakes_stop
            && !surprised
            && !tasks.crowded
            && scheduler.start_up.is_none()
            && tasks[id].deferred.is_empty()
    }

    /// The running task has woken others, and gone on.
    fn follow_wake(
        &self,
        tasks: &mut Tasks,
        clock: &mut Clock,
        scheduler: &mut Scheduler,
        futexes: &mut Futexes,
        note: Note,
    ) -> Flow<()> {
        let Some(id) = tasks.current else { return Ok(()) };
        let woken = tasks.woken;
        let key = futexes.futex_key(tasks, id, note.address, true);
        futexes.wake(tasks, scheduler, self, key, note.count, ANY);
        tasks.woken = woken;
        let mut runnable = tasks.runnable().to_vec();
        if let Err(at) = runnable.binary_search(&id) {
            runnable.insert(at, id);
        }
        let ran = clock.went_on(note.left);
        let point = Point { current: Some(id), why: Why::Woken, ran, next: None, found: Found::default() };
        let choice = scheduler.strategy.decide(point, &runnable);
        // What is left may be less than the strategy knows: a signal cuts a timeslice short.
        same(choice, Choice { task: id, ..choice })
    }
}

impl Tasks {
    /// See whether parked tasks have got signals. If one has been sent just now they are given the time to notice.
    pub(in crate::record) fn look_for_roused(&mut self, sent: bool) -> Flow<()> {
        for id in self.living().map(|task| task.id).collect::<Vec<_>>() {
            let task = &self[id];
            let (Hold::Parked(running) | Hold::Unparked(running)) = task.hold() else { continue };
            // Of one whose stop is known already there is nothing to wait for.
            if self.children.early.iter().any(|(tid, _)| *tid == task.tid) {
                continue;
            }
            let wait = match running.poll()? {
                Waited::Done(wait) => Some(wait),
                Waited::NotYet if sent => self.reached_stop(task.id, running)?,
                Waited::NotYet => None,
            };
            let tid = task.tid;
            self.children.early.extend(wait.map(|wait| (tid, wait)));
        }
        Ok(())
    }

    /// A task that does not have the core has stopped: if it is for a signal, that is kept for later.
    fn keep_signal(&mut self, id: TaskId, stopped: &Stopped, stop: Stop) -> Flow<()> {
        if let Stop::Signal(_) = stop {
            let info = self.signal_info(id, stopped)?;
            self.task(id).deferred.push(info);
        }
        Ok(())
    }
}

impl Journal {
    /// The running task's timeslice has been made shorter: it is one of so many ticks from the last event on.
    pub(in crate::record) fn log_cut(&mut self, clock: &Clock, ticks: u64) {
        // If it has got the core from another since then, replay comes to know it as that happens.
        if !clock.area().shorten_handed(ticks) {
            self.log.push(Event::Cut(ticks));
        }
    }
}

/// The strategy must answer as the process has decided.
fn same(choice: Choice, decided: Choice) -> Flow<()> {
    if choice == decided {
        return Ok(());
    }
    Err(Halt::Error(Error::Os {
        what: "follow what the program has decided".into(),
        source: std::io::Error::other(format!("the strategy answered {choice:?}, not {decided:?}")),
    }))
}
