//! Whether a program that has not ended yet is to be waited for any longer.
//!
//! It is not if it has run past its time limit; if it cannot go on before that, because its tasks wait for times that are
//! further away; if it takes so much longer than its runs usually do that it must have got stuck ([`crate::patience`]); or if
//! the time is over for all runs. What is compared with earlier runs is its own time: that for which its processes and their
//! recorder had the processor (clock_getcpuclockid(3)), and that for which none of its tasks could run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::ending::Overdue;
use crate::error::Error;
use crate::patience::{Conduct, Due, Effort, Verdict};
use crate::record::options::Options;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::tree::tasks::{Hold, Task};
use crate::task::TaskId;
use crate::tracee::{State, cpu_time, state};

/// How often to look.
const LOOK: Duration = Duration::from_millis(100);

/// How long a program must have stood still before it is asked, which takes some time, whether anything can happen: at first,
/// and as a multiple of what it was the last time.
const STILL: Duration = Duration::from_millis(50);
const LATER: u32 = 4;

/// How much longer than its recording a replay may take, and how much longer than on a machine of its own both.
const REPLAY: f64 = 1.25;
const MOST_BUSY: f64 = 20.0;

/// How a program spends its time, and what follows.
#[derive(Debug)]
pub(in crate::record) struct Trial {
    conduct: Conduct,
    start: Instant,
    next: Instant,
    /// The program hangs when it runs past this; none is never.
    end: Option<Instant>,
    /// It is cut off when it runs past this.
    until: Option<Instant>,
    /// The processor time of this thread at the start.
    before: Duration,
    /// That of each process, when it was last seen.
    processes: BTreeMap<Pid, Duration>,
    /// All of them, and of this thread since the start, at the last look.
    computed: Duration,
    /// To be asked again when the program has stood still for so long.
    ask: Duration,
    suspected: bool,
    verdict: Option<Overdue>,
}

impl Trial {
    /// The program begins.
    pub(in crate::record) fn new(options: &Options<'_>) -> Self {
        let now = Instant::now();
        Self {
            conduct: Conduct::new(options.patience),
            start: now,
            next: now + LOOK,
            end: now.checked_add(options.timeout),
            until: options.until,
            before: own_time(),
            processes: BTreeMap::new(),
            computed: Duration::ZERO,
            ask: STILL,
            suspected: false,
            verdict: None,
        }
    }

    /// Why the program is not waited for any longer.
    pub(super) fn verdict(&self) -> Overdue {
        self.verdict.unwrap_or(Overdue::Limit)
    }

    /// None of its tasks could run for so long.
    pub(in crate::record) fn stands_still(&mut self, time: Duration) {
        self.conduct.stands_still(time);
    }

    /// One of its tasks is about to run.
    pub(in crate::record) fn goes_on(&mut self) {
        if !self.conduct.still().is_zero() {
            self.conduct.goes_on();
            self.ask = STILL;
        }
    }

    /// What it has taken up to now. What has not been looked at yet may not all have been its own; what comes after a verdict is
    /// not.
    pub(in crate::record) fn effort(&self) -> Effort {
        let all = self.start.elapsed();
        let seen = self.computed + self.conduct.idled();
        let unseen = match self.verdict {
            Some(_) => Duration::ZERO,
            None => {
                Instant::now().saturating_duration_since(self.next.checked_sub(LOOK).unwrap_or(self.start))
            }
        };
        let idled = self.conduct.idled();
        Effort { computed: all.min(seen + unseen).saturating_sub(idled), idled }
    }

    fn took(&self) -> Duration {
        self.computed + self.conduct.idled()
    }
}

impl Recorder<'_> {
    /// Whether the program is not to be waited for any longer.
    pub(super) fn is_overdue(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let past = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
        if self.trial.verdict.is_none()
            && (now >= self.trial.next || past(self.trial.until) || past(self.trial.end))
        {
            self.trial.next = now + LOOK;
            self.trial.verdict =
                if past(self.trial.end) { Some(Overdue::Limit) } else { self.look_at_conduct(now)? };
        }
        Ok(self.trial.verdict.is_some())
    }

    fn look_at_conduct(&mut self, now: Instant) -> Result<Option<Overdue>, Error> {
        let computed = self.computed();
        self.trial.computed = computed;
        let due = self.due()?;
        let trial = &mut self.trial;
        let verdict = trial.conduct.judge(computed, due);
        if verdict >= Verdict::Suspect && !std::mem::replace(&mut trial.suspected, true) {
            // If it is chaos that keeps it from getting on, it can do so now.
            self.strategy.be_fair();
        }
        let took = trial.took();
        let unusual = trial.conduct.usual().map(|usual| Overdue::Unusual { took, usual });
        if verdict == Verdict::Hung {
            return Ok(unusual);
        }
        let Some(until) = trial.until else { return Ok(None) };
        // A hang has to be replayed before the time is over, on a machine that is as busy as it has been.
        let busy = trial.start.elapsed().as_secs_f64() / took.as_secs_f64().max(f64::EPSILON);
        let replay = computed.mul_f64(busy.clamp(1.0, MOST_BUSY) * REPLAY);
        let at_last = now + replay >= until;
        if at_last && trial.conduct.judge_at_last(computed, due) == Verdict::Hung {
            return Ok(unusual);
        }
        if now < until {
            return Ok(None);
        }
        // It has taken no longer than others that have ended: there was no time left for it. Nobody asks where it was, which
        // would take more.
        if self.options.patience.is_some_and(|patience| took <= patience.longest) {
            return Err(Error::Stopped);
        }
        Ok(Some(Overdue::CutOff(trial.start.elapsed())))
    }

    /// The processor time that the program has taken, and its recorder for it.
    fn computed(&mut self) -> Duration {
        for pid in self.processes() {
            // One that has just ended took hardly more than when it was last seen.
            if let Ok(time) = cpu_time(pid) {
                self.trial.processes.insert(pid, time);
            }
        }
        let processes: Duration = self.trial.processes.values().sum();
        processes + own_time().saturating_sub(self.trial.before)
    }

    /// Whether it is known when the program, if it stands still, goes on.
    fn due(&mut self) -> Result<Due, Error> {
        if self.trial.conduct.still().is_zero() {
            return Ok(Due::InSight);
        }
        // The disk will have done soon.
        let waits_for_disk = |task: &Task| match task.hold() {
            Hold::InKernel(running, _) => state(running.tid()) == State::DiskSleep,
            _ => false,
        };
        if self.tasks.living().any(waits_for_disk) {
            return Ok(Due::InSight);
        }
        let comes = match (self.next_time()?, self.left()) {
            (Some(next), Some(left)) => next < left,
            (next, _) => next.is_some(),
        };
        Ok(if comes { Due::InSight } else { Due::Unknown })
    }

    /// How long the program may still run.
    fn left(&self) -> Option<Duration> {
        self.trial.end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// How long until the first time that a task waits for, or a timer goes off. What a harness that only watches waits for is
    /// none.
    fn next_time(&mut self) -> Result<Option<Duration>, Error> {
        let now = self.clocks.now()?;
        let watchdog = |task: TaskId| {
            self.options.watchdog_main && task == TaskId(0) && self.futexes.waiting(task).is_some()
        };
        let deadline = self.deadlines.all().find(|(_, task)| !watchdog(*task)).map(|(at, _)| at);
        let next = deadline.into_iter().chain(self.alarms.next(now)).min();
        Ok(next.map(|at| Duration::from_nanos(at.saturating_sub(now))))
    }

    /// Nothing can run. Whether nothing will before the time limit: then there is no need to wait for it.
    pub(in crate::record) fn nothing_can_happen_in_time(&mut self) -> Flow<bool> {
        let still = self.trial.conduct.still();
        let Some(left) = self.left().filter(|_| still >= self.trial.ask) else { return Ok(false) };
        self.trial.ask = still * LATER;
        let Some(first) = self.next_time()?.filter(|first| *first > left) else { return Ok(false) };
        if !self.only_time_helps() || !self.tasks.runnable().is_empty() {
            return Ok(false);
        }
        let Some(timers) = self.descriptor_timers() else { return Ok(false) };
        let first = timers.iter().map(|timer| Duration::from_nanos(timer.left)).fold(first, Duration::min);
        if first > left {
            self.trial.verdict = Some(Overdue::NothingDue(first));
        }
        Ok(first > left)
    }
}

/// The processor time of this thread.
fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local. The clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_verdict_is_no_effort() {
        let start = Instant::now().checked_sub(Duration::from_secs(9)).expect("a moment");
        let mut trial = Trial {
            conduct: Conduct::new(None),
            start,
            next: start + LOOK,
            end: None,
            until: None,
            before: Duration::ZERO,
            processes: BTreeMap::new(),
            computed: Duration::from_millis(3),
            ask: STILL,
            suspected: false,
            verdict: None,
        };
        assert!(trial.effort().total() > Duration::from_secs(8), "nobody has looked");
        trial.verdict = Some(Overdue::CutOff(Duration::from_secs(1)));
        assert_eq!(trial.effort().total(), Duration::from_millis(3));
    }
}
