//! Decides when to give up on a program that has not ended.
//!
//! The recorder gives up if the program has run past its limit; if it cannot go on before that, because its tasks wait
//! for later times; if it takes so much longer than its runs usually do that it must be stuck ([`crate::patience`]); or
//! if the time is over for all runs. Unless somebody has set a limit in real time, what counts is the program's own
//! time: the processor time of its processes and their recorder (clock_getcpuclockid(3)), plus the time for which none
//! of its tasks could run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::ending::Overdue;
use crate::error::Error;
use crate::patience::{Conduct, Due, Effort, Limit, Verdict};
use crate::record::futex::Futexes;
use crate::record::options::{CutOff, Options};
use crate::record::time::alarms::Alarms;
use crate::record::time::clocks::Clocks;
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::{State, cpu_time, state};

/// Interval between checks.
const LOOK: Duration = Duration::from_millis(100);

/// How long a program must have stood still before the check, which takes some time, whether anything can happen: at
/// first, and as a multiple of the previous time.
const STILL: Duration = Duration::from_millis(50);
const LATER: u32 = 4;

/// How much longer a replay may take than its recording, and the largest slowdown by a busy machine that is assumed.
const REPLAY: f64 = 1.25;
const MOST_BUSY: f64 = 20.0;

/// How a program spends its time, and the verdict.
#[derive(Debug)]
pub(in crate::record) struct Trial {
    conduct: Conduct,
    limit: Limit,
    start: Instant,
    next: Instant,
    /// The recording is cut off when it runs past this.
    until: Option<CutOff>,
    /// Processor time of this thread at the start.
    before: Duration,
    /// Processor time of each process when last seen.
    processes: BTreeMap<Pid, Duration>,
    /// Processor time of all processes, and of this thread since the start, at the last check.
    computed: Duration,
    /// Check again when the program has stood still for this long.
    ask: Duration,
    suspected: bool,
    verdict: Option<Overdue>,
}

impl Trial {
    /// Starts with a program that has just begun.
    pub(in crate::record) fn new(options: &Options<'_>) -> Self {
        let now = Instant::now();
        Self {
            conduct: Conduct::new(options.limit.patience()),
            limit: options.limit,
            start: now,
            next: now + LOOK,
            until: options.until,
            before: own_time(),
            processes: BTreeMap::new(),
            computed: Duration::ZERO,
            ask: STILL,
            suspected: false,
            verdict: None,
        }
    }

    /// Returns why the recorder has given up on the program.
    pub(in crate::record) fn verdict(&self) -> Overdue {
        self.verdict.unwrap_or(Overdue::Limit)
    }

    /// Whether the recorder has given up on the program.
    pub(in crate::record) fn is_over(&self) -> bool {
        self.verdict.is_some()
    }

    /// Whether to find out what the tasks were doing when the recorder gave up on the program.
    pub(in crate::record) fn is_worth_telling(&self) -> bool {
        match (self.verdict, self.until) {
            (Some(Overdue::CutOff(_)), Some(until)) => self.took() >= until.told_after,
            _ => true,
        }
    }

    /// Notes that none of its tasks could run for this long.
    pub(in crate::record) fn stands_still(&mut self, time: Duration) {
        self.conduct.stands_still(time);
    }

    /// Notes that one of its tasks is about to run.
    pub(in crate::record) fn goes_on(&mut self) {
        if !self.conduct.still().is_zero() {
            self.conduct.goes_on();
            self.ask = STILL;
        }
    }

    /// Returns its own time so far. Includes the time since the last check, which may not all be its
    /// own, but none after a verdict.
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

    pub(in crate::record) fn took(&self) -> Duration {
        self.computed + self.conduct.idled()
    }
}

impl Trial {
    /// Whether it is time to check the program's progress.
    pub(in crate::record) fn is_due(&self, now: Instant) -> bool {
        let is_cut_off = self.until.is_some_and(|until| now >= until.at);
        self.verdict.is_none() && (now >= self.next || is_cut_off || self.is_past_limit(now))
    }

    /// Checks the program's progress. Returns whether it is suspected of a hang for the first time.
    ///
    /// # Errors
    /// [`Error::Stopped`] if the time is over and the program has taken no longer than others that have ended.
    pub(in crate::record) fn look(&mut self, now: Instant, tasks: &Tasks, due: Due) -> Result<bool, Error> {
        self.next = now + LOOK;
        self.computed = self.computed(tasks);
        if self.is_past_limit(now) {
            self.verdict = Some(Overdue::Limit);
            return Ok(false);
        }
        let verdict = self.conduct.judge(self.computed, due);
        self.verdict = self.follows(now, verdict, due)?;
        Ok(verdict >= Verdict::Suspect && !std::mem::replace(&mut self.suspected, true))
    }

    /// Returns why to give up on the program, if the verdict or the time demands it.
    fn follows(&mut self, now: Instant, verdict: Verdict, due: Due) -> Result<Option<Overdue>, Error> {
        let took = self.took();
        let patience = self.limit.patience();
        let unusual = patience.map(|patience| Overdue::Unusual { took, usual: patience.usual });
        if verdict == Verdict::Hung {
            return Ok(unusual);
        }
        let Some(CutOff { at: until, .. }) = self.until else { return Ok(None) };
        // A hang has to be replayed before the time is over, on a machine that is as busy as it has been.
        let busy = self.start.elapsed().as_secs_f64() / took.as_secs_f64().max(f64::EPSILON);
        let replay = self.computed.mul_f64(busy.clamp(1.0, MOST_BUSY) * REPLAY);
        let at_last = now + replay >= until;
        if at_last && self.conduct.judge_at_last(self.computed, due) == Verdict::Hung {
            return Ok(unusual);
        }
        if now < until {
            return Ok(None);
        }
        // There was no time left for it. Nobody asks where it was, which would take more.
        if patience.is_some_and(|patience| took <= patience.longest) {
            return Err(Error::Stopped);
        }
        Ok(Some(Overdue::CutOff(self.start.elapsed())))
    }

    /// Returns the time left, if the program has stood still for so long that it is to be checked whether anything can
    /// happen within that time. No task can run.
    pub(in crate::record) fn asks(&mut self) -> Option<Duration> {
        let still = self.conduct.still();
        let left = self.left(Instant::now()).filter(|_| still >= self.ask)?;
        self.ask = still * LATER;
        Some(left)
    }

    /// Gives up, as nothing will happen before `first`.
    pub(in crate::record) fn nothing_due(&mut self, first: Duration) {
        self.verdict = Some(Overdue::NothingDue(first));
    }

    /// Returns the processor time of the program, and of its recorder on its behalf.
    pub(in crate::record) fn computed(&mut self, tasks: &Tasks) -> Duration {
        for pid in tasks.processes() {
            // A process that has just ended used hardly more than when last seen.
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
        // It waits for a processor, or for the disk, which will soon be done.
        let goes_on = |task: &Task| match task.hold() {
            Hold::InKernel(running, _) => {
                matches!(state(running.tid()), State::Runnable | State::DiskSleep)
            }
            _ => false,
        };
        if tasks.living().any(goes_on) {
            return Ok(Due::InSight);
        }
        let left = self.left(Instant::now());
        let comes = match (futexes.next_time(options, tasks, clocks, alarms)?, left) {
            (Some(next), Some(left)) => next < left,
            (next, _) => next.is_some(),
        };
        Ok(if comes { Due::InSight } else { Due::Unknown })
    }

    /// Whether it has run for too long, whatever it did. One whose runs are known to end is judged by its conduct.
    fn is_past_limit(&self, now: Instant) -> bool {
        self.limit.patience().is_none() && self.left(now) == Some(Duration::ZERO)
    }

    /// Returns how long the program may still run; `None` for any time.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.limit.left(now.saturating_duration_since(self.start), self.took())
    }
}

impl Futexes {
    /// Returns the time until the next deadline of a task or timer. Ignores the wait of a harness that only watches the
    /// others.
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

    /// Whether no task sleeps until a time, and no timer will send a signal. Ignores the sleep of a harness that only
    /// watches the others.
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

/// Returns the processor time of this thread.
fn own_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local. The clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::Usual;
    use crate::record::testing::{call, options, tasks, wait};

    #[test]
    fn what_comes_after_a_verdict_is_no_effort() {
        let start = Instant::now().checked_sub(Duration::from_secs(9)).expect("a moment");
        let mut trial = Trial {
            conduct: Conduct::new(None),
            limit: Limit::Never,
            start,
            next: start + LOOK,
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

    #[test]
    fn a_program_past_its_limit_is_given_up_at_the_next_look() {
        let mut trial = Trial::new(&Options { limit: Limit::Real(Duration::ZERO), ..options() });
        let now = Instant::now();
        assert!(trial.is_due(now) && !trial.is_over());
        assert!(!trial.look(now, &tasks(1), Due::InSight).unwrap());
        assert!(trial.is_over() && !trial.is_due(now));
        assert_eq!(trial.verdict(), Overdue::Limit);
    }

    #[test]
    fn a_program_without_a_limit_is_looked_at_now_and_then() {
        let mut trial = Trial::new(&options());
        let start = trial.next - LOOK;
        assert!(!trial.is_due(start) && trial.is_due(start + LOOK));
        assert!(!trial.look(start + LOOK, &tasks(1), Due::InSight).unwrap());
        assert!(!trial.is_over() && !trial.is_due(start + LOOK) && trial.is_due(start + LOOK + LOOK));
        assert_eq!(trial.left(start + LOOK), None);
    }

    #[test]
    fn on_a_busy_machine_only_a_limit_that_somebody_has_set_passes_faster() {
        let mut known = Usual::default();
        known.learn(Effort { computed: Duration::from_secs(10), idled: Duration::ZERO });
        for (limit, verdict) in [
            (Limit::Real(Duration::from_secs(60)), Some(Overdue::Limit)),
            (Limit::Usual(None), None),
            (Limit::Usual(known.patience()), None),
        ] {
            let mut trial = Trial::new(&Options { limit, ..options() });
            let now = trial.start + Duration::from_secs(600);
            trial.look(now, &tasks(1), Due::InSight).unwrap();
            assert_eq!(trial.verdict, verdict, "{limit:?}");
            trial.stands_still(Duration::from_secs(40));
            trial.stands_still(Duration::from_secs(20));
            trial.look(now, &tasks(1), Due::InSight).unwrap();
            let known = limit.patience().is_some();
            assert_eq!(trial.verdict, (!known).then_some(Overdue::Limit), "{limit:?}");
        }
    }

    #[test]
    fn when_the_time_for_all_is_over_it_is_cut_off() {
        let now = Instant::now();
        let mut trial = Trial::new(&Options { until: Some(CutOff::untold(now)), ..options() });
        assert!(trial.is_due(now));
        trial.look(now, &tasks(1), Due::InSight).unwrap();
        assert!(matches!(trial.verdict(), Overdue::CutOff(_)));
        assert!(!trial.is_worth_telling());
        trial.until = Some(CutOff { at: now, told_after: Duration::ZERO });
        assert!(trial.is_worth_telling());
    }

    #[test]
    fn one_that_stands_still_is_checked_ever_more_rarely_until_it_goes_on() {
        let mut trial = Trial::new(&Options { limit: Limit::Real(Duration::from_secs(3600)), ..options() });
        let mut asks = |still| {
            trial.stands_still(still);
            trial.asks().is_some()
        };
        assert!(!asks(STILL / 2) && asks(STILL / 2), "in total");
        assert!(!asks(STILL * (LATER - 1) - Duration::from_nanos(1)) && asks(Duration::from_nanos(1)));
        trial.goes_on();
        trial.stands_still(STILL);
        assert!(trial.asks().is_some());
    }

    #[test]
    fn what_will_not_happen_in_time_is_the_verdict() {
        let mut trial = Trial::new(&options());
        trial.nothing_due(Duration::from_secs(5));
        assert_eq!((trial.is_over(), trial.verdict()), (true, Overdue::NothingDue(Duration::from_secs(5))));
    }

    #[test]
    fn the_wait_of_a_harness_that_watches_is_no_deadline() {
        let (mut tasks, mut futexes, mut alarms) = (tasks(2), Futexes::default(), Alarms::default());
        let harness = Options { watchdog_main: true, ..options() };
        let key = crate::schedule::futex::FutexKey { space: 0, address: 8 };
        wait(&mut tasks, TaskId(0), call(libc::SYS_futex, [8, 0, 0, 64, 0, 0]));
        futexes.table.wait(key, TaskId(0), u32::MAX);
        tasks.deadlines.insert(TaskId(0), u64::MAX);
        assert!(futexes.nothing_due(&harness, &tasks, &mut alarms, 0));
        assert!(!futexes.nothing_due(&options(), &tasks, &mut alarms, 0), "it is any task");
        tasks.deadlines.insert(TaskId(1), 7);
        assert!(!futexes.nothing_due(&harness, &tasks, &mut alarms, 0));
        let clocks = Clocks::default();
        let next =
            |options: &Options<'_>, alarms: &mut Alarms| futexes.next_time(options, &tasks, &clocks, alarms);
        assert_eq!(next(&harness, &mut alarms).unwrap(), Some(Duration::ZERO), "that one is long due");
    }
}
