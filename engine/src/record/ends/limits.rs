//! Ends programs that run for too long, or that nothing can wake.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::ending::Ending;
use crate::error::Error;
use crate::record::deadlock::wakers::View;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Halt};
use crate::task::TaskId;

impl Recorder<'_> {
    /// Whether to give up on the program. Fails if the caller has asked the recorder to stop.
    pub(in crate::record) fn over(&mut self) -> Result<bool, Error> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let asked = self.options.end.is_some_and(|end| end.load(Ordering::Relaxed));
        Ok(asked || self.is_overdue()?)
    }

    /// Whether the program has exceeded one of its limits.
    fn is_overdue(&mut self) -> Result<bool, Error> {
        let (now, trial) = (Instant::now(), &mut self.progress.trial);
        if trial.is_due(now) {
            let (clocks, alarms) = (&self.time.clocks, &mut self.time.alarms);
            let due = trial.due(self.options, &self.tasks, &self.futexes, clocks, alarms)?;
            if trial.look(now, &self.tasks, due)? {
                // If chaos keeps the program from making progress, it gets the chance to make some now.
                self.scheduler.strategy.be_fair();
            }
        }
        Ok(trial.is_over())
    }

    /// Whether nothing can happen before the time limit, given that no task can run: then there is no point in waiting
    /// for it.
    pub(in crate::record) fn nothing_can_happen_in_time(&mut self) -> Flow<bool> {
        let Some(left) = self.progress.trial.asks() else { return Ok(false) };
        let (clocks, alarms) = (&self.time.clocks, &mut self.time.alarms);
        let next = self.futexes.next_time(self.options, &self.tasks, clocks, alarms)?;
        let Some(first) = next.filter(|first| *first > left) else { return Ok(false) };
        if !self.wakers(View::default()).only_time_helps() || !self.tasks.runnable().is_empty() {
            return Ok(false);
        }
        let Some(timers) = self.poller.descriptor_timers(&self.tasks) else { return Ok(false) };
        let first = timers.iter().map(|timer| Duration::from_nanos(timer.left)).fold(first, Duration::min);
        if first > left {
            self.progress.trial.nothing_due(first);
        }
        Ok(first > left)
    }

    pub(in crate::record) fn hung<T>(&mut self, running: Option<TaskId>) -> Flow<T> {
        self.follow()?;
        self.take_buffered();
        let spun = self.clock.total() - self.scheduler.last_call;
        let why = self.progress.trial.verdict();
        let tasks = if self.progress.trial.is_worth_telling() { self.states(running) } else { Vec::new() };
        Err(Halt::Ending(Ending::Hung { why, tasks, spun }))
    }

    pub(in crate::record) fn deadlock(&mut self) -> Flow<()> {
        let states = self.states(None);
        Err(Halt::Ending(Ending::Deadlocked(states)))
    }
}
