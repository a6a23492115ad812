//! Virtual time: when every task only waits for a time, the clock is fast-forwarded to the earliest (a *fast-forward*).
//!
//! The program's clocks are moved ahead of the machine's ([`crate::record::time::clocks`]), all by the same amount, and
//! so are the timers that the kernel runs for it. Between fast-forwards time passes as always: a program that watches
//! the clock in a loop sees it move.
//!
//! Time must not be fast-forwarded over what an outsider is about to do. All tasks of the recorded tree are known to
//! wait, but one that waits for a descriptor may wait for an outsider. So it is fast-forwarded only if the tree itself
//! causes everything that is waited for (see [`crate::record::deadlock::wakers`] and
//! [`crate::record::kernel::peers`]), nothing is in flight in the network, and the program is not known to look for an
//! outsider ([`crate::record::time::abroad`]). In doubt time passes as always.

use std::time::Duration;

use crate::record::deadlock::wakers::View;
use crate::record::options::Time;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;

impl Recorder<'_> {
    /// Fast-forwards to `next`, which is due next, if nothing else can come before it. No task is runnable. Returns
    /// whether it leapt, or something has come.
    pub(in crate::record) fn fast_forward_if_idle(&mut self, next: Option<u64>, now: u64) -> Flow<bool> {
        if self.options.time == Time::Real {
            return Ok(false);
        }
        // The sleep of a harness that only watches the others is not worth a fast-forward.
        let next =
            next.filter(|_| !self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now));
        if next.is_none() && !self.poller.timerfds {
            return Ok(false);
        }
        // What has come meanwhile is handled first.
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        if !self.tasks.runnable().is_empty() {
            return Ok(true);
        }
        self.fast_forward(next, now)
    }

    /// Fast-forwards to the earliest of `next` and the kernel's timers. Returns false if it must not be fast-forwarded.
    pub(in crate::record) fn fast_forward(&mut self, next: Option<u64>, now: u64) -> Flow<bool> {
        if self.time.abroad.is_sought() || !self.wakers(View::default()).only_time_helps() {
            return Ok(false);
        }
        let Some(timers) = self.poller.descriptor_timers(&self.tasks) else { return Ok(false) };
        let first = timers.iter().map(|timer| now.saturating_add(timer.left)).chain(next).min();
        let Some(fast_forward) = first.and_then(|at| at.checked_sub(now)) else { return Ok(false) };
        for timer in timers {
            timer.bring_forward(fast_forward)?;
        }
        self.time.clocks.fast_forward(fast_forward)?;
        self.set_clocks();
        self.time.stamped.stamps_are_stale(&self.clock, &self.time.clocks)?;
        self.time.fast_forwards += 1;
        Ok(true)
    }

    /// Tells the process how its clocks differ from the machine's.
    pub(in crate::record) fn set_clocks(&self) {
        let clocks = &self.time.clocks;
        let [wall, up] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC].map(|clock| clocks.differs(clock));
        self.clock.area().set_clocks(clocks.ahead(), wall, up);
        self.clock.area().set_told(self.time.differ());
    }

    /// Lets up to this much time pass while nobody runs. Returns false if it must not.
    pub(in crate::record) fn pass(&mut self, nanoseconds: u64) -> Flow<bool> {
        match self.options.time {
            Time::Virtual => {
                let now = self.time.clocks.now()?;
                self.fast_forward(Some(now.saturating_add(nanoseconds)), now)
            }
            Time::Real => {
                std::thread::sleep(Duration::from_nanos(nanoseconds));
                Ok(true)
            }
        }
    }
}
