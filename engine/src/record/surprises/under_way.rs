//! Surprises in time: a machine that is busy with something else for a while.
//!
//! - [`Surprise::Early`]: nobody runs until a task's time limit, or its sleep, is over.
//! - [`Surprise::Late`]: a task gets the core only some time after its wait is over.
//! - [`Surprise::Stall`]: a task does not get the core while others repeatedly wait for a time.
//! - [`Surprise::Slow`]: nobody runs for a while just before a task reads a clock.
//!
//! All of them let time pass (`Recorder::pass`). Virtual time is fast-forwarded, together with all clocks and timers of
//! the program ([`crate::record::wait`]); in real time the recorder waits. Nobody runs meanwhile, and whatever falls
//! due does so: a machine that has given its cores to others does the same. No wait ends before its time on the
//! program's clocks.
//!
//! The amount is limited. People guard their tests against hanging with limits of many seconds, and are right to rely
//! on these: an attempt loses [`FAR`] in total at most. In real time that would hold up the other attempts, so nearly
//! all attempts lose at most [`MOST`], by waits of up to [`NEAR`], unless the test itself usually waits for longer
//! ([`Plan::usual_wait`](crate::schedule::Plan::usual_wait)): then for as long as that. In virtual time a sleep that a
//! test usually sits out may end early however long it is, unless that would skip the time limit of another task.

use std::borrow::Cow;

use super::Surprises;
use super::strikes::Note;
use crate::clock::Clock;
use crate::record::in_process::call_sites::CallSites;
use crate::record::options::{Options, Time};
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// In ns. Loaded machines sometimes delay programs for this long; programs that wait longer may rely on it.
pub(in crate::record) const FAR: u64 = 2_500_000_000;

/// In ns. How long something may be delayed in nearly all attempts in real time.
pub(in crate::record) const NEAR: u64 = 100_000_000;

/// In ns. How long nearly all attempts may be delayed in total, in real time.
const MOST: u64 = 200_000_000;

/// In ns. The shortest delay.
pub(in crate::record) const MOMENT: u64 = 10_000;

/// A stall lasts for fewer waits of other tasks than this.
const WAITS: u64 = 65;

/// The surprises in time that are under way.
#[derive(Debug, Default)]
pub(in crate::record) struct UnderWay {
    pub(in crate::record) early: Option<Early>,
    pub(in crate::record) stall: Option<Stall>,
    /// How long it has delayed the attempt, in ns.
    pub(in crate::record) spent: u64,
}

/// A wait that is to end early.
#[derive(Debug)]
pub(in crate::record) struct Early {
    pub(in crate::record) task: TaskId,
    /// Decisions left until then.
    pub(in crate::record) left: u64,
    pub(in crate::record) note: Note,
}

/// A task that does not get the core.
#[derive(Debug)]
pub(in crate::record) struct Stall {
    pub(in crate::record) task: TaskId,
    /// Waits of other tasks that are left.
    pub(in crate::record) left: u64,
    /// Waits so far, and their total length.
    pub(in crate::record) times: u64,
    pub(in crate::record) lasted: u64,
    /// Decisions so far, and the ticks of all tasks at the start.
    pub(in crate::record) decisions: u64,
    pub(in crate::record) ticks: u64,
}

impl UnderWay {
    /// Returns the runnable tasks that may have the core.
    pub(in crate::record) fn awake<'a>(&self, runnable: &'a [TaskId]) -> Cow<'a, [TaskId]> {
        match &self.stall {
            Some(stall) if runnable.len() > 1 && runnable.binary_search(&stall.task).is_ok() => {
                runnable.iter().copied().filter(|task| *task != stall.task).collect()
            }
            _ => Cow::Borrowed(runnable),
        }
    }
}

impl Surprises {
    /// Returns how long a delay may be, in ns.
    pub(in crate::record) fn reach(&self, options: &Options<'_>) -> u64 {
        match options.time {
            Time::Virtual => FAR,
            Time::Real => (NEAR << self.injector.patience()).max(options.plan.usual_wait).min(FAR),
        }
    }

    /// Whether the attempt may be delayed for this long. If so, the delay counts.
    pub(in crate::record) fn may_keep_waiting(&mut self, options: &Options<'_>, nanoseconds: u64) -> bool {
        let most = match options.time {
            Time::Virtual => FAR,
            Time::Real => self.reach(options).max(MOST),
        };
        let spent = self.under_way.spent.saturating_add(nanoseconds);
        let may = spent <= most;
        if may {
            self.under_way.spent = spent;
        }
        may
    }

    /// Starts a stall as task `id` begins to wait: some other task does not get the core from now on.
    pub(in crate::record) fn begin_stall(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        id: TaskId,
    ) {
        let harness = |task: TaskId| options.watchdog_main && task == TaskId(0);
        let others = tasks.living().map(|task| task.id);
        let others: Vec<_> = others.filter(|other| *other != id && !harness(*other)).collect();
        let at = self.injector.below(Surprise::Stall, others.len() as u64);
        let left = self.injector.amount(Surprise::Stall, 1, WAITS);
        let Some(task) = others.get(at as usize).copied() else { return };
        let ticks = clock.total();
        self.under_way.stall = Some(Stall { task, left, times: 0, lasted: 0, decisions: 0, ticks });
    }

    /// Ends the stall: its task may have the core again.
    pub(in crate::record) fn end_stall(&mut self, tasks: &Tasks, call_sites: &CallSites) {
        let Some(Stall { task, times, lasted, .. }) = self.under_way.stall.take() else { return };
        if times > 0 && self.notes_strikes() {
            let place = call_sites.place_of(tasks, task);
            self.note_strike(Note {
                more: lasted,
                times,
                place,
                ..Note::new(Surprise::Stall, task, Doing::Runs)
            });
        }
    }

    /// Whether the program has waited for longer than it would have by itself.
    pub(in crate::record) fn has_lost_time(&self) -> bool {
        self.under_way.spent > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{options, tasks};
    use crate::schedule::surprise::Surprises as Kinds;

    const A: TaskId = TaskId(0);
    const B: TaskId = TaskId(1);

    fn stall(task: TaskId) -> UnderWay {
        let stall = Stall { task, left: 1, times: 0, lasted: 0, decisions: 0, ticks: 0 };
        UnderWay { stall: Some(stall), ..UnderWay::default() }
    }

    #[test]
    fn a_stalled_task_does_not_get_the_core_unless_nobody_else_can() {
        assert_eq!(*UnderWay::default().awake(&[A, B]), [A, B]);
        assert_eq!(*stall(A).awake(&[A, B]), [B]);
        assert_eq!(*stall(A).awake(&[A]), [A]);
        assert_eq!(*stall(A).awake(&[B, TaskId(2)]), [B, TaskId(2)]);
    }

    #[test]
    fn an_attempt_is_delayed_only_so_much_in_total() {
        for (time, most) in [(Time::Virtual, FAR), (Time::Real, MOST)] {
            let options = Options { time, ..options() };
            let mut surprises = Surprises::new(&options);
            assert!(!surprises.has_lost_time() && !surprises.may_keep_waiting(&options, most + 1));
            assert!(!surprises.has_lost_time(), "that delay was refused");
            assert!(surprises.may_keep_waiting(&options, most) && surprises.has_lost_time());
            assert!(!surprises.may_keep_waiting(&options, 1));
        }
    }

    #[test]
    fn a_test_that_usually_waits_for_long_may_be_delayed_for_as_long() {
        let mut options = Options { time: Time::Real, ..options() };
        options.plan.usual_wait = 2 * MOST;
        let mut surprises = Surprises::new(&options);
        assert_eq!(surprises.reach(&options), 2 * MOST);
        assert!(surprises.may_keep_waiting(&options, 2 * MOST));
        options.plan.usual_wait = 2 * FAR;
        assert_eq!(surprises.reach(&options), FAR, "beyond that nobody is");
    }

    #[test]
    fn a_stall_strikes_another_task_and_no_harness() {
        let (tasks, clock) = (tasks(3), Clock::new().unwrap());
        for seed in 0..100 {
            let mut options = Options { watchdog_main: true, surprises: Kinds::ALL, ..options() };
            options.plan.seed = seed;
            let mut surprises = Surprises::new(&options);
            surprises.begin_stall(&options, &tasks, &clock, B);
            let stall = surprises.under_way.stall.expect("a stall");
            assert_eq!(stall.task, TaskId(2));
            assert!((1..WAITS).contains(&stall.left));
        }
    }

    #[test]
    fn there_is_nobody_to_stall_beside_the_only_task() {
        let (tasks, clock, options) = (tasks(1), Clock::new().unwrap(), options());
        let mut surprises = Surprises::new(&options);
        surprises.begin_stall(&options, &tasks, &clock, A);
        assert!(surprises.under_way.stall.is_none());
    }
}
