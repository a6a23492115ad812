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

use crate::error::Error;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt, Next};
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Hold;
use crate::schedule::futex::ANY;
use crate::schedule::surprise::Surprise;
use crate::schedule::{Choice, Found, Point, Why};
use crate::task::TaskId;
use crate::trace::event::{Event, Parked};
use crate::tracee::{
    Area, Death, Member, Resume, Running, State, Stop, Stopped, Wait, Waited, is_fault, state, wait_any,
};

impl Recorder<'_> {
    /// What the process must know to decide who runs, once this task goes on.
    pub(super) fn prepare_hand_over(&mut self, id: TaskId) {
        let turns = self.strategy.turns().filter(|_| self.may_decide(id));
        self.decides = match turns {
            None => Decides::Nothing,
            Some(_) if self.is_worth_it() => Decides::All,
            Some(_) => Decides::Wakes,
        };
        let task = &self.tasks[id];
        let area = self.clock.area();
        let slot = |id: TaskId| self.tasks[id].slot();
        self.futexes.crowds(|number, crowd, waiters| {
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
        area.set_turns(task.space.number, self.decides, turns);
        if self.decides > Decides::Nothing
            && let Some(turns) = self.tasks.changed_turns()
        {
            self.clock.area().set_runnable(turns);
        }
    }

    /// Who can hand the core over is waited for with all others, which takes the kernel the longer the more they are: where
    /// they are many they must do it often enough.
    fn is_worth_it(&mut self) -> bool {
        /// For so few it always is.
        const FEW: usize = 32;
        /// One hand-over is worth so many waits for all. Without any, one of so many is for all, to see.
        const WORTH: u32 = 8;
        if self.tasks.count() <= FEW {
            return true;
        }
        self.since_handed = self.since_handed.saturating_add(1);
        self.since_handed < WORTH || self.since_handed.is_multiple_of(WORTH)
    }

    fn may_decide(&self, id: TaskId) -> bool {
        let surprises = [Surprise::Spurious, Surprise::Order, Surprise::Stall];
        let surprised = surprises.iter().any(|kind| self.dice.have(*kind));
        !self.options.wakes_stop
            && !surprised
            && !self.crowded
            && self.start_up.is_none()
            && self.tasks[id].deferred.is_empty()
    }

    /// The strategy has decided, or knows a new task: when this one ran last is for the process to know, too.
    pub(in crate::record) fn note_turn(&self, id: TaskId) {
        if let Some(slot) = self.tasks[id].slot() {
            self.clock.area().set_last_ran(slot, self.strategy.last_ran(id));
        }
    }

    /// Carry out what tasks have done without a stop, up to now.
    pub(in crate::record) fn follow(&mut self) -> Flow<()> {
        for note in self.clock.area().take_notes() {
            match note.to.checked_sub(1) {
                None => self.follow_wake(note)?,
                Some(to) => self.follow_wait(TaskId(to), note)?,
            }
        }
        Ok(())
    }

    /// The running task has woken others, and gone on.
    fn follow_wake(&mut self, note: Note) -> Flow<()> {
        let Some(id) = self.current else { return Ok(()) };
        let woken = self.woken;
        let key = self.futex_key(id, note.address, true);
        self.wake(key, note.count, ANY);
        self.woken = woken;
        let mut runnable = self.tasks.runnable().to_vec();
        if let Err(at) = runnable.binary_search(&id) {
            runnable.insert(at, id);
        }
        let ran = self.clock.went_on(note.left);
        let point = Point { current: Some(id), why: Why::Woken, ran, next: None, found: Found::default() };
        let choice = self.strategy.decide(point, &runnable);
        // What is left may be less than the strategy knows: a signal cuts a timeslice short.
        same(choice, Choice { task: id, ..choice })
    }

    /// The running task has begun to wait, and this one has got the core.
    fn follow_wait(&mut self, to: TaskId, note: Note) -> Flow<()> {
        let Some(id) = self.current else { return Ok(()) };
        let key = self.futex_key(id, note.address, true);
        self.futexes.wait(key, id, ANY);
        if let Some(slot) = self.tasks[id].slot() {
            self.task(id).robust_list = self.clock.area().parked_robust_list(slot);
        }
        let running = Running::of_new(self.tasks[id].tid);
        self.tasks.hold(id, Hold::Parked(running));
        self.restless |= !self.tasks[id].deferred.is_empty();
        let ran = self.clock.handed_over(note.left, note.slice);
        let found = self.found_up_to(note.events, 0);
        let point = Point { current: Some(id), why: Why::Blocked, ran, next: None, found };
        let choice = self.strategy.decide(point, self.tasks.runnable());
        same(choice, Choice::plain(to, note.slice))?;
        self.woken = false;
        self.since_handed = 0;
        self.current = Some(to);
        let _parked = self.tasks.release(to);
        self.task(to).boundary.left = note.slice;
        Ok(())
    }

    /// Wait until the task that has the core stops, whoever that is by then. None if a signal (the heartbeat) has come first.
    pub(in crate::record) fn wait_for_running(&mut self) -> Flow<Option<(TaskId, Stopped, Stop)>> {
        let has_core = |this: &Self, tid: Pid| {
            let task = this.tasks.with_tid(tid);
            task.is_some_and(|task| task.id.0 == this.clock.area().running())
        };
        // One that was stopped as it got the core.
        let (tid, wait) = match self.early.iter().position(|(tid, _)| has_core(self, *tid)) {
            Some(at) => self.early.swap_remove(at),
            None => match wait_any()? {
                Waited::Done((tid, wait)) if has_core(self, tid) => (tid, wait),
                Waited::Done(other) => {
                    self.early.push(other);
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
        let id = self.tasks.with_tid(tid).map(|task| task.id);
        let wait = match (id, wait) {
            (Some(id), Wait::Stopped(stopped, Stop::Signal(number))) if self.clock.area().is_deciding() => {
                match self.goes_on_deciding(id, stopped, number)? {
                    None => return Ok(None),
                    Some(stopped) => Wait::Stopped(stopped, Stop::Signal(number)),
                }
            }
            (_, wait) => wait,
        };
        self.follow()?;
        match (id, wait) {
            (Some(id), Wait::Stopped(stopped, stop)) => Ok(Some((id, stopped, stop))),
            (Some(id), Wait::Dead(death)) => self.died(id, death),
            (None, _) => Err(crate::record::step::unexpected("follow the running thread")),
        }
    }

    /// A signal has come for a task that is about to hand the core over, or to wake others: what it has noted it has not all done
    /// yet. It goes on, and the signal is kept back, unless its own instruction has raised it.
    fn goes_on_deciding(&mut self, id: TaskId, stopped: Stopped, number: i32) -> Flow<Option<Stopped>> {
        if is_fault(&stopped.signal_info()?) {
            return Ok(Some(stopped));
        }
        let info = self.signal_info(id, &stopped)?;
        if !self.does_nothing(&stopped, number)? {
            self.task(id).deferred.push(info);
            self.clock.area().decide_no_more();
            self.set_mode(id);
        }
        stopped.resume(Resume::Freely, 0)?;
        Ok(None)
    }

    /// Stop the task that runs user code, whoever that is by then.
    pub(in crate::record) fn stop_running(
        &mut self,
        id: TaskId,
        running: Running,
    ) -> Flow<(TaskId, Stopped, Stop)> {
        if self.decides < Decides::All {
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
                    self.heartbeat.next(MOMENT);
                    stopped.resume(Resume::Freely, 0)?;
                }
                Some(stop) => {
                    self.decides = Decides::Nothing;
                    return Ok(stop);
                }
                None => {}
            }
        }
    }

    /// A decision is due. Tasks that did not have the core may have stopped or ended meanwhile, and one may have begun to wait
    /// with a signal that was kept back.
    pub(in crate::record) fn take_early(&mut self) -> Flow<()> {
        if std::mem::take(&mut self.restless) {
            let restless =
                self.tasks.living().filter(|task| task.hold().parked() && !task.deferred.is_empty());
            for id in restless.map(|task| task.id).collect::<Vec<_>>() {
                let running = Running::of_new(self.tasks[id].tid);
                running.interrupt();
                let (stopped, stop) = self.wait(id, running)?;
                self.keep_signal(id, &stopped, stop)?;
                self.rouse(id, stopped)?;
            }
        }
        for (tid, wait) in std::mem::take(&mut self.early) {
            let parked = self.tasks.with_tid(tid).filter(|task| task.hold().parked()).map(|task| task.id);
            match (parked, wait) {
                (Some(id), Wait::Stopped(stopped, stop)) => self.roused(id, stopped, stop)?,
                (_, wait) => self.left_kernel(tid, wait)?,
            }
        }
        Ok(())
    }

    /// See whether parked tasks have got signals. If one has been sent just now they are given the time to notice.
    pub(in crate::record) fn look_for_roused(&mut self, sent: bool) -> Flow<()> {
        for task in self.tasks.living() {
            let (Hold::Parked(running) | Hold::Unparked(running)) = task.hold() else { continue };
            // Of one whose stop is known already there is nothing to wait for.
            if self.early.iter().any(|(tid, _)| *tid == task.tid) {
                continue;
            }
            let wait = match running.poll()? {
                Waited::Done(wait) => Some(wait),
                Waited::NotYet if sent => self.reached_stop(task.id, running)?,
                Waited::NotYet => None,
            };
            self.early.extend(wait.map(|wait| (task.tid, wait)));
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
        let info = self.signal_info(id, &stopped)?;
        if self.does_nothing(&stopped, number)? {
            stopped.resume(Resume::Freely, 0)?;
            return Ok(());
        }
        self.task(id).deferred.push(info);
        self.rouse(id, stopped)
    }

    /// There are signals for a parked task, which has been stopped.
    fn rouse(&mut self, id: TaskId, stopped: Stopped) -> Flow<()> {
        self.unpark(id, stopped)?;
        self.send_deferred(id)?;
        self.look_soon();
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
                self.keep_signal(id, &stopped, stop)?;
            }
        }
        self.clock.area().unpark(&stopped, slot)?;
        let mut running = stopped.resume(Resume::Freely, 0)?;
        let stopped = loop {
            match self.wait(id, running)? {
                (stopped, Stop::Seccomp) => break stopped,
                (stopped, stop) => {
                    self.keep_signal(id, &stopped, stop)?;
                    running = stopped.resume(Resume::Freely, 0)?;
                }
            }
        };
        let call = Call { entered: true, ..Call::new(stopped.registers()?) };
        self.log.push(Event::Unparked(id));
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
        let may = plain && in_stub && self.strategy.turns().is_some() && self.may_decide(id);
        let Some(slot) = self.tasks[id].slot().filter(|_| may) else {
            self.tasks.hold(id, Hold::Waiting(stopped, call));
            return Ok(Next::Decide(Why::Blocked, None));
        };
        if !call.entered {
            self.note_arrival(id);
        }
        self.log.push(Event::Parked(Parked { task: id, slot }));
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

    /// The running task's timeslice has been made shorter: it is one of so many ticks from the last event on.
    pub(in crate::record) fn log_cut(&mut self, ticks: u64) {
        // If it has got the core from another since then, replay comes to know it as that happens.
        if !self.clock.area().shorten_handed(ticks) {
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
