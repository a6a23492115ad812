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
use crate::record::futex::Futexes;
use crate::record::options::Options;
use crate::record::time::alarms::Alarms;
use crate::record::time::clocks::Clocks;
use crate::record::tree::tasks::{Hold, Task, Tasks};
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
    pub(in crate::record) fn verdict(&self) -> Overdue {
        self.verdict.unwrap_or(Overdue::Limit)
    }

    /// Whether the program is not waited for any longer.
    pub(in crate::record) fn is_over(&self) -> bool {
        self.verdict.is_some()
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

    /// What it has taken up to now. What has not been looked at yet may not all have been its own.
    pub(in crate::record) fn effort(&self) -> Effort {
        let all = self.start.elapsed();
        let seen = self.computed + self.conduct.idled();
        let unseen =
            Instant::now().saturating_duration_since(self.next.checked_sub(LOOK).unwrap_or(self.start));
        let idled = self.conduct.idled();
        Effort { computed: all.min(seen + unseen).saturating_sub(idled), idled }
    }

    pub(in crate::record) fn took(&self) -> Duration {
        self.computed + self.conduct.idled()
    }
}

impl Trial {
    /// Whether it is time to look how the program gets on.
    pub(in crate::record) fn is_due(&self, now: Instant) -> bool {
        let past = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
        self.verdict.is_none() && (now >= self.next || past(self.until) || past(self.end))
    }

    /// Looks how the program gets on. Whether it is suspected for the first time that it does not.
    pub(in crate::record) fn look(&mut self, now: Instant, tasks: &Tasks, due: Due) -> bool {
        self.next = now + LOOK;
        if self.end.is_some_and(|end| now >= end) {
            self.verdict = Some(Overdue::Limit);
            return false;
        }
        self.computed = self.computed(tasks);
        let verdict = self.conduct.judge(self.computed, due);
        self.verdict = self.follows(now, verdict, due);
        verdict >= Verdict::Suspect && !std::mem::replace(&mut self.suspected, true)
    }

    /// Why the program is not waited for any longer, if that follows.
    fn follows(&mut self, now: Instant, verdict: Verdict, due: Due) -> Option<Overdue> {
        let took = self.took();
        let unusual = self.conduct.usual().map(|usual| Overdue::Unusual { took, usual });
        if verdict == Verdict::Hung {
            return unusual;
        }
        let until = self.until?;
        // A hang has to be replayed before the time is over, on a machine that is as busy as it has been.
        let busy = self.start.elapsed().as_secs_f64() / took.as_secs_f64().max(f64::EPSILON);
        let replay = self.computed.mul_f64(busy.clamp(1.0, MOST_BUSY) * REPLAY);
        let at_last = now + replay >= until;
        if at_last && self.conduct.judge_at_last(self.computed, due) == Verdict::Hung {
            return unusual;
        }
        (now >= until).then_some(Overdue::CutOff(self.start.elapsed()))
    }

    /// Nothing can run. The time that is left, if the program has stood still for so long that it is to be asked whether anything
    /// can happen within that.
    pub(in crate::record) fn asks(&mut self) -> Option<Duration> {
        let still = self.conduct.still();
        let left = self.left().filter(|_| still >= self.ask)?;
        self.ask = still * LATER;
        Some(left)
    }

    /// Nothing will happen before this.
    pub(in crate::record) fn nothing_due(&mut self, first: Duration) {
        self.verdict = Some(Overdue::NothingDue(first));
    }

    /// The processor time that the program has taken, and its recorder for it.
    pub(in crate::record) fn computed(&mut self, tasks: &Tasks) -> Duration {
        for pid in tasks.processes() {
            // One that has just ended took hardly more than when it was last seen.
            if let Ok(time) = cpu_time(pid) {
                self.processes.insert(pid, time);
            }
        }
        let processes: Duration = self.processes.values().sum();
        processes + own_time().saturating_sub(self.before)
    }

    /// Whether it is known when the program, if it stands still, goes on.
    pub(in crate::record) fn due(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        futexes: &Futexes,
        clocks: &Clocks,
        alarms: &mut Alarms,
    ) -> Result<Due, Error> {
        if self.conduct.still().is_zero() {
            return Ok(Due::InSight);
        }
        // The disk will have done soon.
        let waits_for_disk = |task: &Task| match task.hold() {
            Hold::InKernel(running, _) => state(running.tid()) == State::DiskSleep,
            _ => false,
        };
        if tasks.living().any(waits_for_disk) {
            return Ok(Due::InSight);
        }
        let comes = match (futexes.next_time(options, tasks, clocks, alarms)?, self.left()) {
            (Some(next), Some(left)) => next < left,
            (next, _) => next.is_some(),
        };
        Ok(if comes { Due::InSight } else { Due::Unknown })
    }

    /// How long the program may still run.
    pub(in crate::record) fn left(&self) -> Option<Duration> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

impl Futexes {
    /// How long until the first time that a task waits for, or a timer goes off. What a harness that only watches waits for is
    /// none.
    pub(in crate::record) fn next_time(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        clocks: &Clocks,
        alarms: &mut Alarms,
    ) -> Result<Option<Duration>, Error> {
        let now = clocks.now()?;
        let watchdog =
            |task: TaskId| options.watchdog_main && task == TaskId(0) && self.table.waiting(task).is_some();
        let deadline = tasks.deadlines.all().find(|(_, task)| !watchdog(*task)).map(|(at, _)| at);
        let next = deadline.into_iter().chain(alarms.next(now)).min();
        Ok(next.map(|at| Duration::from_nanos(at.saturating_sub(now))))
    }

    /// Whether no task sleeps until a time, and no timer will send a signal. The sleep of a harness that only watches the
    /// others does not count.
    pub(in crate::record) fn nothing_due(
        &self,
        options: &Options<'_>,
        tasks: &Tasks,
        alarms: &mut Alarms,
        now: u64,
    ) -> bool {
        if alarms.next(now).is_some() {
            return false;
        }
        let watchdog = |task: TaskId| options.watchdog_main && task == TaskId(0) && tasks.next() > TaskId(1);
        let Some((_, task)) = tasks.deadlines.earliest() else { return true };
        watchdog(task) && tasks.deadlines.only(task) && self.table.waiting(task).is_some()
    }
}

/// The processor time of this thread.
fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local. The clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}
