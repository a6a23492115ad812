//! Waits while no task is runnable, and collects the tasks that have become runnable.

use std::time::{Duration, Instant};

use crate::record::deadlock::wakers::View;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::tracee::{self, Waited, is_asleep};

/// Longest wait at a time, so that a request to stop is soon noticed.
const WHILE: Duration = Duration::from_millis(20);

/// How often to look for signals that nobody has reported: of timers, and of processes that are not recorded.
const LOOK: Duration = Duration::from_millis(20);

impl Recorder<'_> {
    /// Waits for the kernel or the clock while no task is runnable, or finds out that nothing will ever happen.
    pub(in crate::record) fn idle(&mut self) -> Flow<()> {
        let (since, before) = (Instant::now(), self.time.clocks.now()?);
        let due = self.next_due(before);
        self.wait_a_while()?;
        // What comes later than it was due does so because the machine is busy: the program does not wait for that.
        let longest = due.map_or(u64::MAX, |due| due.saturating_sub(before));
        self.journal.measured.waited += self.time.clocks.now()?.saturating_sub(before).min(longest);
        // Anything longer than this is not the program's time.
        self.progress.trial.stands_still(since.elapsed().min(WHILE + WHILE / 4));
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.over()? || self.nothing_can_happen_in_time()? { self.hung(None) } else { Ok(()) }
    }

    /// Returns the next moment for which a task waits, or at which a timer sends a signal.
    fn next_due(&mut self, now: u64) -> Option<u64> {
        let (earliest, alarm) = (self.tasks.deadlines.earliest(), self.time.alarms.next(now));
        earliest.map(|(at, _)| at).into_iter().chain(alarm).min()
    }

    pub(in crate::record) fn wait_a_while(&mut self) -> Flow<()> {
        const MOMENT: Duration = Duration::from_millis(1);
        let now = self.time.clocks.now()?;
        let next = self.next_due(now);
        let left = Duration::from_nanos(next.unwrap_or(u64::MAX).saturating_sub(now));
        if self.fast_forward_if_idle(next, now)? {
            return if self.over()? { self.hung(None) } else { Ok(()) };
        }
        // It takes some time if there are many tasks.
        if left > MOMENT {
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        if !self.tasks.runnable().is_empty() {
            return Ok(());
        }
        if self.tasks.someone_in_kernel() && self.poller.is_empty() {
            self.tasks.children.wake_up_timer.next(left);
            match tracee::wait_any()? {
                Waited::Done((tid, wait)) => self.left_kernel(tid, wait)?,
                Waited::NotYet
                    if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                        && self.deadlocked()? =>
                {
                    return self.deadlock();
                }
                Waited::NotYet => {}
            }
        } else if self.tasks.someone_in_kernel() || !self.poller.is_empty() {
            // No single wait covers both.
            let longest = if self.tasks.someone_in_kernel() { MOMENT } else { WHILE };
            self.poller.wait(left.min(longest));
            self.poller.poll_watches(&mut self.tasks)?;
            self.poll_kernel()?;
            if self.tasks.runnable().is_empty()
                && self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now)
                && self.deadlocked()?
            {
                return self.deadlock();
            }
        } else if self.futexes.nothing_due(self.options, &self.tasks, &mut self.time.alarms, now) {
            return self.deadlock();
        } else {
            std::thread::sleep(left.min(WHILE));
        }
        Ok(())
    }

    /// Makes tasks runnable whose sleep is over, or whose wait in the kernel has ended.
    pub(in crate::record) fn collect_ready(&mut self) -> Flow<()> {
        if self.tasks.deadlines.earliest().is_some() {
            let now = self.time.clocks.now()?;
            for id in self.tasks.deadlines.expired(now) {
                if !self.is_late(id, now) {
                    self.futexes.expire(&mut self.tasks, &mut self.poller, id);
                }
            }
        }
        self.time.alarms.send_alarms(
            self.options,
            &mut self.tasks,
            &mut self.futexes,
            &mut self.poller,
            &self.time.clocks,
        )?;
        if Instant::now() >= self.tasks.children.look {
            self.tasks.children.look = Instant::now() + LOOK;
            self.tasks.children.look_again = true;
            self.futexes.look_for_signals(&mut self.tasks, &mut self.poller, &self.time.clocks)?;
        }
        self.poller.poll_watches(&mut self.tasks)?;
        self.poll_kernel()
    }

    /// Whether only tasks of the program, none of which is runnable, could wake the tasks that wait in the kernel or
    /// for descriptors.
    pub(in crate::record) fn deadlocked(&mut self) -> Flow<bool> {
        if !self.progress.pace.is_due() {
            return Ok(false);
        }
        let began = Instant::now();
        let deadlocked = self.wakers(View::within()).waits_for_itself() && {
            let deadlocked = self.wakers(View::beyond(self.tasks.processes())).waits_for_itself();
            // What came before that look has arrived by now, and nothing else will come.
            self.poller.poll_watches(&mut self.tasks)?;
            self.poll_kernel()?;
            deadlocked && self.tasks.runnable().is_empty() && self.tasks.all_sleep()
        };
        self.progress.pace.took(began.elapsed());
        Ok(deadlocked)
    }
}

impl Tasks {
    pub(in crate::record) fn all_sleep(&self) -> bool {
        self.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => is_asleep(running.tid()),
            _ => true,
        })
    }
}
