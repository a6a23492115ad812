//! Waits for tasks in the kernel to fall asleep or come to a stop.

use std::time::{Duration, Instant};

use super::task::Hold;
use super::tasks::Tasks;
use crate::record::step::Flow;
use crate::task::TaskId;
use crate::tracee::{Running, State, WaitStatus, Waited as Polled, cpu_time, is_asleep, state};

/// What a task in the kernel has reached.
pub(in crate::record) enum Reached {
    /// It has stopped, or ended.
    Stop(WaitStatus),
    /// It sleeps.
    Sleep,
    /// Neither, for a long time: it computes, or does not get the core.
    Nothing,
}

impl Tasks {
    /// Waits until a task in the kernel has come to a stop or sleeps.
    pub(in crate::record) fn follow_into_kernel(&self, id: TaskId, running: &Running) -> Flow<Reached> {
        /// Shortest and longest pause between checks whether it sleeps, which nothing reports.
        const PAUSE: std::ops::RangeInclusive<Duration> =
            Duration::from_micros(20)..=Duration::from_millis(1);
        /// How long it may take, in its own time and in total.
        const LONGEST: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));
        let (tid, pid) = (running.tid(), self[id].pid);
        let mut began = None;
        let mut pause = *PAUSE.start();
        loop {
            if let Polled::Done(wait) = running.poll()? {
                return Ok(Reached::Stop(wait));
            }
            if state(tid) == State::Dead || is_asleep(tid) {
                return Ok(Reached::Sleep);
            }
            let used = cpu_time(pid).unwrap_or_default();
            let (since, before) = *began.get_or_insert_with(|| (Instant::now(), used));
            if used.saturating_sub(before) > LONGEST.0 || since.elapsed() > LONGEST.1 {
                return Ok(Reached::Nothing);
            }
            self.children.wake_up_timer.next(pause);
            if let Polled::Done(wait) = running.wait()? {
                return Ok(Reached::Stop(wait));
            }
            pause = (pause * 2).min(*PAUSE.end());
        }
    }

    /// Waits until a task that sleeps, or is about to, has noticed what was sent to it. Returns its stop, if it has
    /// come to one.
    pub(in crate::record) fn reached_stop(&self, id: TaskId, running: &Running) -> Flow<Option<WaitStatus>> {
        match self.follow_into_kernel(id, running)? {
            Reached::Stop(wait) => Ok(Some(wait)),
            Reached::Sleep | Reached::Nothing => Ok(None),
        }
    }

    /// Collects stops of parked tasks that have got signals. If one has just been sent, gives them time to notice.
    pub(in crate::record) fn look_for_roused(&mut self, sent: bool) -> Flow<()> {
        for id in self.living().map(|task| task.id).collect::<Vec<_>>() {
            let task = &self[id];
            let (Hold::Parked(running) | Hold::Unparked(running)) = task.hold() else { continue };
            // The stop of this task is known already.
            if self.children.early.iter().any(|(tid, _)| *tid == task.tid) {
                continue;
            }
            let wait = match running.poll()? {
                Polled::Done(wait) => Some(wait),
                Polled::NotYet if sent => self.reached_stop(task.id, running)?,
                Polled::NotYet => None,
            };
            let tid = task.tid;
            self.children.early.extend(wait.map(|wait| (tid, wait)));
        }
        Ok(())
    }
}
