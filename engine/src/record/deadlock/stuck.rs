//! Whether tasks that wait in the kernel can ever go on.
//!
//! A wait for children, for a pipe, a connection or a lock that only the program's own processes have, ends only by what one of
//! them does. If none of them can run, and nobody else could do it, that is a deadlock. What is not certain counts as waiting
//! for the world: the program then runs into its time limit.

use std::path::Path;
use std::time::{Duration, Instant};

use super::wakers::{View, Wakers};
use crate::record::kernel::call_in_progress::inode;
use crate::record::poller::Poller;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::{Hold, Tasks};
use crate::task::TaskId;
use crate::tracee::{State, state};

/// When to look next whether a program is stuck. A look may take long, on a machine with many processes and sockets: most of the
/// time is left for what the program waits for.
#[derive(Debug, Default)]
pub(in crate::record) struct Pace(Option<Instant>);

impl Pace {
    fn is_due(&self) -> bool {
        self.0.is_none_or(|next| Instant::now() >= next)
    }

    /// A look that has found nothing took so long.
    fn took(&mut self, time: Duration) {
        /// A part of the time at most.
        const PART: u32 = 16;
        self.0 = Instant::now().checked_add(time * PART);
    }
}

impl Recorder<'_> {
    /// Who could wake the tasks that wait, as this shows it.
    pub(in crate::record) fn wakers(&self, view: View) -> Wakers<'_> {
        Wakers {
            options: self.options,
            tasks: &self.tasks,
            poller: &self.poller,
            reach: &self.outside.reach,
            view,
        }
    }

    /// Whether no task that waits in the kernel or for descriptors can be woken by anybody but another task of the program,
    /// which cannot run.
    pub(in crate::record) fn stuck(&mut self) -> Flow<bool> {
        if !self.preemption.pace.is_due() {
            return Ok(false);
        }
        let began = Instant::now();
        let stuck = self.wakers(View::within()).waits_for_itself() && {
            let stuck = self.wakers(View::beyond(self.tasks.processes())).waits_for_itself();
            // What has come before that look is there by now, and what has not, comes no more.
            self.poller.poll_watches(&mut self.tasks)?;
            self.poll_kernel()?;
            stuck && self.tasks.runnable().is_empty() && self.tasks.all_sleep()
        };
        self.preemption.pace.took(began.elapsed());
        Ok(stuck)
    }
}

impl Tasks {
    fn all_sleep(&self) -> bool {
        self.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => state(running.tid()) == State::Sleeping,
            _ => true,
        })
    }
}

impl Poller {
    /// Take note of a socketpair(2) that a task has made.
    pub(in crate::record) fn note_pair(&mut self, tasks: &mut Tasks, id: TaskId, call: &Call) {
        let (tid, space) = (tasks.task(id).tid, tasks.space(id));
        let [one, other] = [0, 4].map(|at| {
            let fd = space.memory.u32(call.args()[3] + at).ok()?;
            inode(Path::new(&format!("/proc/{tid}/fd/{fd}")))
        });
        if let (Some(one), Some(other)) = (one, other) {
            self.pairs.extend([(one, other), (other, one)]);
        }
    }
}
