//! Virtual time: when every task only waits for a time to come, it comes at once.
//!
//! The program's clocks leap ahead of the machine's ([`crate::record::time::clocks`]), all alike, and so do the timers that the kernel runs
//! for it. Between leaps time passes as always: a program that watches the clock in a loop sees it move.
//!
//! Time must not leap over what somebody else is about to do. The tasks of the recorded tree are all known to wait; but one
//! that waits for a descriptor may wait for the world. So time leaps only if everything that is waited for is made by the tree
//! itself (see [`crate::record::progress::pace`] and [`crate::record::kernel::peers`]), nothing is under way in the network,
//! and the program is not known to look for somebody else ([`crate::record::time::abroad`]). In doubt it does not.

use std::time::Duration;

use crate::record::deadlock::wakers::View;
use crate::record::options::Time;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;

impl Recorder<'_> {
    /// Nothing can run, and this is due next. If nothing else can come before it, it comes now. Whether it did.
    pub(in crate::record) fn leap_if_idle(&mut self, next: Option<u64>, now: u64) -> Flow<bool> {
        if self.options.time == Time::Real {
            return Ok(false);
        }
        // The sleep of a harness that only watches the others is not worth a leap.
        let next =
            next.filter(|_| !self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now));
        if next.is_none() && !self.poller.timerfds {
            return Ok(false);
        }
        // What has come meanwhile is looked at first.
        self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        if !self.tasks.runnable().is_empty() {
            return Ok(true);
        }
        self.leap(next, now)
    }

    /// Time leaps to the next of these and of the kernel's timers. False if it must not.
    pub(in crate::record) fn leap(&mut self, next: Option<u64>, now: u64) -> Flow<bool> {
        if self.time.abroad.is_sought() || !self.wakers(View::default()).only_time_helps() {
            return Ok(false);
        }
        let Some(timers) = self.poller.descriptor_timers(&self.tasks) else { return Ok(false) };
        let first = timers.iter().map(|timer| now.saturating_add(timer.left)).chain(next).min();
        let Some(leap) = first.and_then(|at| at.checked_sub(now)) else { return Ok(false) };
        for timer in timers {
            timer.bring_forward(leap)?;
        }
        self.time.clocks.leap(leap)?;
        self.clock.area().set_ahead(self.time.clocks.ahead());
        self.time.stamped.stamps_are_stale(&self.clock, &self.time.clocks)?;
        self.time.leaps += 1;
        Ok(true)
    }

    /// So much time passes while nobody runs, or less. False if it must not.
    pub(in crate::record) fn pass(&mut self, nanoseconds: u64) -> Flow<bool> {
        match self.options.time {
            Time::Virtual => {
                let now = self.time.clocks.now()?;
                self.leap(Some(now.saturating_add(nanoseconds)), now)
            }
            Time::Real => {
                std::thread::sleep(Duration::from_nanos(nanoseconds));
                Ok(true)
            }
        }
    }
}
