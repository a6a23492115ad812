//! Carries out what tasks have noted in the shared area while they handed the core to each other.

use rrtest_preload::calls::{self, Buffering};
use rrtest_preload::layout::Note;

use super::futex::Futexes;
use super::options::Options;
use super::recorder::Recorder;
use super::scheduler::Scheduler;
use super::step::{Flow, Halt, Next};
use super::surprises::Surprises;
use super::tree::call::Call;
use super::tree::task::Hold;
use super::tree::tasks::Tasks;
use crate::clock::Clock;
use crate::error::Error;
use crate::schedule::futex::ANY;
use crate::schedule::surprise::Surprise;
use crate::schedule::{Choice, Hits, Point, Why};
use crate::task::TaskId;
use crate::trace::event::{Event, Parked, Stream};
use crate::tracee::{Area, Running, Stopped, buffered_calls};

impl Surprises {
    pub(in crate::record) fn may_decide(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        scheduler: &Scheduler,
        id: TaskId,
    ) -> bool {
        let surprises = [Surprise::Spurious, Surprise::Order, Surprise::Stall];
        let surprised = surprises.iter().any(|kind| self.injector.have(*kind));
        !options.wakes_stop
            && !surprised
            && !tasks.out_of_slots
            && scheduler.start_up.is_none()
            && tasks[id].deferred.is_empty()
    }

    /// Carries out a wake by the running task, which has gone on without a stop.
    pub(in crate::record) fn follow_wake(
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
        let point = Point { current: Some(id), why: Why::Woken, ran, next: None, found: Hits::default() };
        let choice = scheduler.strategy.decide(point, &runnable);
        // The slice may be less than the strategy knows: a signal cuts a timeslice short.
        same(choice, Choice { task: id, ..choice })
    }
}

impl Recorder<'_> {
    /// Carries out everything that tasks have done without a stop so far.
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

    /// Carries out a wait by the running task, which has handed the core to task `to`.
    pub(in crate::record) fn follow_wait(&mut self, to: TaskId, note: Note) -> Flow<()> {
        let Some(id) = self.tasks.current else { return Ok(()) };
        let key = self.futexes.futex_key(&self.tasks, id, note.address, true);
        self.futexes.table.wait(key, id, ANY);
        if let Some(slot) = self.tasks[id].slot() {
            self.tasks.task(id).robust_list = self.clock.area().parked_robust_list(slot);
        }
        let running = Running::known_to_run(self.tasks[id].tid);
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

    /// Lets a task, which stands at the call, wait for a futex from now on. Parks it if others can wake it without a
    /// stop. The wait must be `plain`: for a private futex, without a time limit, and ended by any wake.
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

    /// Moves what the running task has done without a stop from the buffer's log to the journal's, ahead of the next
    /// event.
    pub(in crate::record) fn take_buffered(&mut self) {
        if self.clock.area().cursor() == 0 {
            return;
        }
        let log = self.clock.area().take_log();
        for call in buffered_calls(&log).filter(|call| !call.is_read()) {
            self.journal.stats.syscalls += 1;
            self.scheduler.note_call(&self.clock, call.number);
            if matches!(calls::call(call.number).way, Buffering::Map | Buffering::Repeat) {
                self.futexes.keys.forget();
            }
            if let Some(stream) = call.stream.and_then(Stream::of) {
                self.journal.output.push(stream, call.payload);
            }
        }
        self.journal.log.push(Event::Buffered(log));
    }
}

/// Checks that the strategy answers as the process has decided.
fn same(choice: Choice, decided: Choice) -> Flow<()> {
    if choice == decided {
        return Ok(());
    }
    let what = format!("the program has decided {decided:?}, the strategy {choice:?}");
    Err(Halt::Error(Error::Bug { what }))
}
