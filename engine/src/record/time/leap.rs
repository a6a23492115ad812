//! Virtual time: when every task only waits for a time to come, it comes at once.
//!
//! The program's clocks leap ahead of the machine's ([`super::clocks`]), all alike, and so do the timers that the kernel runs
//! for it. Between leaps time passes as always: a program that watches the clock in a loop sees it move.
//!
//! Time must not leap over what somebody else is about to do. The tasks of the recorded tree are all known to wait; but one
//! that waits for a descriptor may wait for the world. So time leaps only if everything that is waited for is made by the tree
//! itself (see [`crate::record::deadlock::stuck`] and [`crate::record::kernel::peers`]), nothing is under way in the network,
//! and the program is not known to look for somebody else ([`super::abroad`]). In doubt it does not.

use super::clocks::Time;
use crate::record::deadlock::stuck::{NESTS, View};
use crate::record::kernel::call_in_progress::{call_in_progress, watched};
use crate::record::kernel::peers::inode_of;
use crate::record::options::Options;
use crate::record::outside::reach::Reach;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::tasks::Tasks;
use crate::record::tree::tasks::{Hold, Task};
use crate::record::waiting::poller::Poller;
use crate::tracee::{State, state};

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
        if self.time.abroad.is_sought()
            || !self.outside.reach.only_time_helps(self.options, &self.tasks, &self.poller)
        {
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
}

impl Reach {
    /// Whether nothing but a time can end the wait of any task that waits.
    pub(in crate::record) fn only_time_helps(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        poller: &Poller,
    ) -> bool {
        // Whoever could come by a name may come in time.
        let view = View::default();
        tasks.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => {
                state(running.tid()) == State::Sleeping
                    && (self.waits_for_the_program(options, tasks, poller, task, &view)
                        || waits_for_signals(task))
            }
            Hold::Waiting(..) => {
                let mut descriptors = poller.descriptors(task.id);
                descriptors.all(|fd| self.inside(options, tasks, poller, task, fd, NESTS, &view))
            }
            // SIGCONT may come from a terminal.
            Hold::Suspended(..) => false,
            _ => true,
        })
    }

    /// Whether only the program's own tasks, or a time, can make this descriptor ready.
    fn inside(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        poller: &Poller,
        task: &Task,
        fd: i32,
        nests: u32,
        view: &View,
    ) -> bool {
        let path = format!("/proc/{}/fd/{fd}", task.tid);
        let Ok(link) = std::fs::read_link(path) else { return false };
        match &*link.to_string_lossy() {
            "anon_inode:[timerfd]" | "anon_inode:[pidfd]" | "anon_inode:[signalfd]" => true,
            "anon_inode:[eventpoll]" => {
                nests > 0
                    && watched(task.tid, fd)
                        .into_iter()
                        .all(|fd| self.inside(options, tasks, poller, task, fd, nests - 1, view))
            }
            link => {
                self.ours(options, tasks, poller, task.tid, fd, nests, view)
                    || inode_of(link)
                        .is_some_and(|inode| view.sockets(task.tid, tasks.processes()).inside(inode))
            }
        }
    }
}

/// Whether a task waits for a signal, for as long as it takes. Those of the program's timers are ours to send.
fn waits_for_signals(task: &Task) -> bool {
    match call_in_progress(task.tid) {
        Some((libc::SYS_pause | libc::SYS_rt_sigsuspend, _)) => true,
        Some((libc::SYS_rt_sigtimedwait, args)) => args[2] == 0,
        _ => false,
    }
}
