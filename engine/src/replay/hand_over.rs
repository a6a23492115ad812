//! Tasks that hand the core over among themselves, without a stop: as they did when they were recorded.

use std::collections::VecDeque;
use std::time::Instant;

use rrtest_preload::layout::{Entry, HandOver};

use super::replayer::{Hold, Replayer};
use crate::error::Error;
use crate::task::TaskId;
use crate::trace::event::Parked;
use crate::tracee::{Resume, Running, Stop, Stopped, Wait, Waited, buffered_calls, wait_any};

/// The hand-overs that the log at hand tells of, each with the end of its entry.
pub(super) type HandOvers = VecDeque<(u64, HandOver)>;

impl Replayer<'_> {
    /// On the way to the next stop, tasks hand the core over as this log tells.
    pub(super) fn note_hand_overs(&mut self, log: &[u8]) -> Result<(), Error> {
        self.to_come.clear();
        let mut end = 0;
        for call in buffered_calls(log) {
            end += Entry::size(call.payload.len()) as u64;
            let Some(handed) = call.handed else { continue };
            if handed.task as usize >= self.tasks.len() || handed.slice == 0 {
                return Err(self.misplaced("a living task and a timeslice", &format!("{handed:?}")));
            }
            self.to_come.push_back((end, handed));
        }
        Ok(())
    }

    /// The running task, which stands at a call, waits for its turn from now on.
    pub(super) fn park(&mut self, parked: Parked) -> Result<(), Error> {
        if parked.task != self.current {
            return Err(self.misplaced("the running task", &parked.task.to_string()));
        }
        let (stopped, registers) = self.reach_call()?;
        if registers.number() != libc::SYS_futex as u64 {
            let found = crate::syscalls::name(registers.number());
            return Err(self.differs("a wait for a futex".into(), found));
        }
        let running = self.clock.area().park(stopped, &registers, parked.slot)?;
        self.set(Hold::Parked(running, parked.slot));
        Ok(())
    }

    /// A parked task stands at its call again.
    pub(super) fn unpark(&mut self, id: TaskId) -> Result<(), Error> {
        let (stopped, slot) = self.stop_parked(id)?;
        self.clock.area().unpark(&stopped, slot)?;
        let mut running = stopped.resume(Resume::Freely, 0)?;
        let stopped = loop {
            match self.wait(running)? {
                Wait::Stopped(stopped, Stop::Seccomp) => break stopped,
                Wait::Stopped(stopped, _) => running = stopped.resume(Resume::Freely, 0)?,
                Wait::Dead(death) => {
                    return Err(self.differs("a task that comes to its call".into(), format!("{death:?}")));
                }
            }
        };
        let registers = stopped.registers()?;
        self.tasks[id.0 as usize].hold = Hold::Calling(stopped, registers);
        Ok(())
    }

    /// The running task is another one. If it is parked, it has its turn when it goes on.
    pub(super) fn give_turn(&mut self) -> Result<(), Error> {
        if matches!(self.task().hold, Hold::Parked(..)) {
            let (stopped, slot) = self.stop_parked(self.current)?;
            self.clock.area().set_turn(slot);
            self.set(Hold::Ready(stopped));
        }
        Ok(())
    }

    /// Stop a task that is parked, and the number of its slot.
    fn stop_parked(&mut self, id: TaskId) -> Result<(Stopped, u32), Error> {
        let hold =
            self.tasks.get_mut(id.0 as usize).map(|task| std::mem::replace(&mut task.hold, Hold::Gone));
        let Some(Hold::Parked(running, slot)) = hold else {
            return Err(self.misplaced("a task that waits for its turn", &format!("{hold:?}")));
        };
        running.interrupt();
        match self.wait(running)? {
            Wait::Stopped(stopped, _) => Ok((stopped, slot)),
            Wait::Dead(death) => Err(self.differs("a task that waits".into(), format!("{death:?}"))),
        }
    }

    /// Wait until the running task stops or dies, or the one that has got the core by then.
    pub(super) fn wait_for_running(&mut self, running: Running) -> Result<Wait, Error> {
        if self.to_come.is_empty() {
            return self.wait(running);
        }
        let since = Instant::now();
        loop {
            let (tid, wait) = match wait_any()? {
                Waited::Done(done) => done,
                Waited::NotYet => {
                    self.check_patience(since)?;
                    continue;
                }
            };
            self.follow()?;
            match wait {
                wait if tid == self.task().tid => return Ok(wait),
                // A signal from outside, which is nothing to a replay.
                Wait::Stopped(stopped, _) => {
                    stopped.resume(Resume::Freely, 0)?;
                }
                Wait::Dead(_) => {}
            }
        }
    }

    /// Take note of those hand-overs that have been done.
    fn follow(&mut self) -> Result<(), Error> {
        let done = self.clock.area().cursor();
        while self.to_come.front().is_some_and(|(end, _)| *end <= done)
            && let Some((_, handed)) = self.to_come.pop_front()
        {
            let running = Running::known_to_run(self.task().tid);
            self.set(Hold::Parked(running, handed.from.into()));
            self.clock.handed_over(handed.left.into(), handed.slice);
            self.current = TaskId(handed.task);
            match self.take() {
                Hold::Parked(_, slot) if slot == u32::from(handed.to) => {}
                other => {
                    let expected = format!("a task that waits in slot {}", handed.to);
                    return Err(self.misplaced(&expected, &format!("{other:?}")));
                }
            }
        }
        Ok(())
    }
}
