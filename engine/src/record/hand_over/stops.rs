//! Stops of tasks that may have handed the core over, and of tasks that do not have it.

use std::time::Duration;

use nix::unistd::Pid;
use rrtest_preload::layout::Decides;

use crate::record::recorder::Recorder;
use crate::record::step::{Flow, bug};
use crate::record::tree::call::Call;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::event::Event;
use crate::tracee::{
    self, Area, Death, Resume, Running, State, Stop, Stopped, WaitStatus, Waited, is_fault, state, wait_any,
};

impl Recorder<'_> {
    /// Waits until the task that has the core by then stops. Returns `None` if a signal (the wake-up timer) comes
    /// first.
    pub(in crate::record) fn wait_for_running(&mut self) -> Flow<Option<(TaskId, Stopped, Stop)>> {
        let has_core = |this: &Self, tid: Pid| {
            let task = this.tasks.with_tid(tid);
            task.is_some_and(|task| task.id.0 == this.clock.area().running())
        };
        // A task that was stopped as it got the core.
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
                    // There may be work: a time has come, or somebody outside has acted.
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
            (Some(id), WaitStatus::Stopped(stopped, Stop::Signal(number)))
                if self.clock.area().is_deciding() =>
            {
                match self.goes_on_deciding(id, stopped, number)? {
                    None => return Ok(None),
                    Some(stopped) => WaitStatus::Stopped(stopped, Stop::Signal(number)),
                }
            }
            (_, wait) => wait,
        };
        self.follow()?;
        match (id, wait) {
            (Some(id), WaitStatus::Stopped(stopped, stop)) => Ok(Some((id, stopped, stop))),
            (Some(id), WaitStatus::Dead(death)) => self.died(id, death),
            (None, _) => Err(bug(format!("thread {tid} runs, but is not known"))),
        }
    }

    /// Handles a signal for a task that is about to hand the core over or to wake others: what it has noted is not all
    /// done yet. Lets it go on and keeps the signal back, unless its own instruction has raised it.
    fn goes_on_deciding(&mut self, id: TaskId, stopped: Stopped, number: i32) -> Flow<Option<Stopped>> {
        if is_fault(&stopped.signal_info()?) {
            return Ok(Some(stopped));
        }
        let info = self.tasks.signal_info(id, &stopped)?;
        if !self.does_nothing(&stopped, number)? {
            self.tasks.task(id).deferred.push(info);
            self.clock.area().decide_no_more();
            self.code.buffer.set_mode(self.options, &self.tasks, &self.clock, &self.scheduler, id);
        }
        stopped.resume(Resume::Freely, 0)?;
        Ok(None)
    }

    /// Stops the task that runs user code by then.
    pub(in crate::record) fn stop_running(
        &mut self,
        id: TaskId,
        running: Running,
    ) -> Flow<(TaskId, Stopped, Stop)> {
        if self.code.hand_over.decides < Decides::All {
            let (stopped, stop) = self.interrupt(id, running)?;
            return Ok((id, stopped, stop));
        }
        /// How long a task that is about to hand the core over gets until the next look.
        const MOMENT: Duration = Duration::from_micros(100);
        loop {
            self.clock.area().decide_no_more();
            let id = TaskId(self.clock.area().running());
            tracee::interrupt(self.tasks[id].tid);
            match self.wait_for_running()? {
                Some((_, stopped, Stop::Event)) if self.clock.area().is_deciding() => {
                    self.tasks.children.wake_up_timer.next(MOMENT);
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

    /// Handles, at a decision, the stops and ends of tasks that did not have the core, and tasks that have begun to
    /// wait although a signal was kept back for them.
    pub(in crate::record) fn take_early(&mut self) -> Flow<()> {
        if std::mem::take(&mut self.tasks.restless) {
            let restless =
                self.tasks.living().filter(|task| task.hold().parked() && !task.deferred.is_empty());
            for id in restless.map(|task| task.id).collect::<Vec<_>>() {
                let running = Running::known_to_run(self.tasks[id].tid);
                running.interrupt();
                let (stopped, stop) = self.wait(id, running)?;
                self.tasks.keep_signal(id, &stopped, stop)?;
                self.rouse(id, stopped)?;
            }
        }
        for (tid, wait) in std::mem::take(&mut self.tasks.children.early) {
            let parked = self.tasks.with_tid(tid).filter(|task| task.hold().parked()).map(|task| task.id);
            match (parked, wait) {
                (Some(id), WaitStatus::Stopped(stopped, stop)) => self.roused(id, stopped, stop)?,
                (_, wait) => self.left_kernel(tid, wait)?,
            }
        }
        Ok(())
    }

    /// Handles the stop of a parked task.
    pub(in crate::record) fn roused(&mut self, id: TaskId, stopped: Stopped, stop: Stop) -> Flow<()> {
        let Stop::Signal(number) = stop else {
            // A group stop also stops the tasks that run.
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

    /// Brings a parked task, which has been stopped, back to its call, as there are signals for it.
    pub(in crate::record) fn rouse(&mut self, id: TaskId, stopped: Stopped) -> Flow<()> {
        self.unpark(id, stopped)?;
        self.tasks.send_deferred(id)?;
        self.tasks.look_soon();
        Ok(())
    }

    /// Brings a parked task back to the entry of its call.
    pub(in crate::record) fn unpark(&mut self, id: TaskId, stopped: Stopped) -> Flow<()> {
        let Some(slot) = self.tasks[id].slot() else { return Ok(()) };
        let mut stopped = stopped;
        // It may first have to save registers in its slot.
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
}

impl Tasks {
    /// Keeps the signal, if any, for which a task without the core has stopped.
    pub(in crate::record) fn keep_signal(&mut self, id: TaskId, stopped: &Stopped, stop: Stop) -> Flow<()> {
        if let Stop::Signal(_) = stop {
            let info = self.signal_info(id, stopped)?;
            self.task(id).deferred.push(info);
        }
        Ok(())
    }
}
