//! Priorities with random change points.
//!
//! After Burckhardt, Kothari, Musuvathi & Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding
//! Bugs" (ASPLOS 2010): each task gets a random priority, the highest runnable one runs, and at d − 1 ticks drawn
//! beforehand the running task falls below all others. A bug that takes d ordered steps shows with probability at least
//! 1 / (n · k^(d − 1)), for n tasks and k ticks.
//!
//! What the paper leaves open, or what worked better here:
//!
//! - A task that waits for another in a loop would keep the core forever: it falls below all others when it yields, or
//!   has run for long since it last fell.
//! - d is unknown. One change point finds bugs that only need a late task; eight times as many find narrow windows
//!   several times as often. So recordings take 1, 2, 4, 8 or 16.
//! - k is known only roughly (see [`crate::schedule::portfolio`]), and a test's own part of it may come early. Half of
//!   the recordings draw change points uniformly from the k ticks, half uniformly on a logarithmic scale.

use std::cmp::Reverse;

use rrtest_preload::turns::LONG_SLICE;

use super::held_back::HeldBack;
use super::per_task::PerTask;
use crate::schedule::random::Random;
use crate::schedule::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// A recording has 1, 2, 4, … up to 2 to this power change points.
const MOST_CHANGES: u64 = 4;

/// If k is unknown, its base-2 logarithm is drawn from these.
const LOG_TICKS: std::ops::Range<u64> = 6..16;

/// Runs the task with the highest priority; changes priorities at a few random ticks.
#[derive(Debug)]
pub(super) struct Pct {
    order: Random,
    wakes: Random,
    tasks: PerTask<Standing>,
    /// Ticks at which the running task falls, the first one last.
    changes: Vec<u64>,
    /// Ticks so far, not counting those during which no other task could have run.
    ticks: u64,
    /// Whether another task could have run since the last decision.
    contended: bool,
    /// The lowest priority given so far.
    lowest: i64,
    held_back: HeldBack,
    running: Option<TaskId>,
}

/// A task's priority, and when it falls.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The highest priority runs. Positive until the task falls for the first time.
    priority: i64,
    /// Ticks that the task may run until it falls.
    patience: u64,
}

impl Pct {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let ticks = match plan.expected_ticks {
            0 => 1 << (LOG_TICKS.start + order.below(LOG_TICKS.end - LOG_TICKS.start)),
            ticks => ticks.clamp(2, 1 << 40),
        };
        let even = order.chance(1, 2);
        let mut changes: Vec<u64> = (0..1_u64 << order.below(MOST_CHANGES + 1))
            .map(|_| {
                let bound = if even { ticks } else { 2 << order.below(ticks.ilog2().into()) };
                1 + order.below(bound)
            })
            .collect();
        changes.sort_unstable_by_key(|tick| Reverse(*tick));
        let held_back = HeldBack::new(order.chance(2, 3));
        let tasks = PerTask::default();
        Self { order, wakes, tasks, changes, ticks: 0, contended: false, lowest: 0, held_back, running: None }
    }

    /// Lowers the priority of `task` below all others.
    fn fall(&mut self, task: TaskId) {
        self.lowest -= 1;
        self.tasks.insert(task, Standing { priority: self.lowest, patience: LONG_SLICE });
    }

    /// Accounts for what the current task has done since the last decision.
    fn account(&mut self, current: TaskId, why: Why, ran: u64) {
        self.ticks += ran;
        let Some(standing) = self.tasks.get_mut(current) else { return };
        standing.patience = standing.patience.saturating_sub(ran);
        let mut falls = why == Why::Yielded || standing.patience == 0;
        while self.changes.pop_if(|tick| *tick <= self.ticks).is_some() {
            falls = true;
        }
        if falls {
            self.fall(current);
        }
    }
}

impl Strategy for Pct {
    fn spawned(&mut self, task: TaskId) {
        let priority = 1 + (self.order.any() >> 2).cast_signed();
        self.tasks.insert(task, Standing { priority, patience: LONG_SLICE });
        self.held_back.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.tasks.remove(task);
        self.held_back.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        if let Some(current) = point.current {
            self.account(current, point.why, if self.contended { point.ran } else { 0 });
        }
        let candidates = self.held_back.candidates(point, runnable);
        let highest = candidates.iter().max_by_key(|task| self.tasks.get(**task).map(|it| it.priority));
        let task = *highest.unwrap_or(&runnable[0]);
        self.running = Some(task);
        self.contended = runnable.len() > 1;
        if !self.contended {
            return Choice::plain(task, LONG_SLICE);
        }
        let patience = self.tasks.get(task).map_or(LONG_SLICE, |it| it.patience);
        let to_change = self.changes.last().map_or(LONG_SLICE, |tick| tick.saturating_sub(self.ticks));
        Choice::plain(task, patience.min(to_change).max(1))
    }

    /// Picks any waiter with equal probability, not the highest: the woken task may then find that a higher one was
    /// faster.
    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        self.wakes.index(waiters.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::StrategyName;

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    fn new(seed: u64, expected_ticks: u64) -> Pct {
        Pct::new(&Plan { expected_ticks, ..Plan::new(StrategyName::Pct, seed) })
    }

    /// Three tasks without change points. Also returns the tasks, highest first.
    fn unchanging(seed: u64) -> (Pct, Vec<TaskId>) {
        let mut pct = new(seed, 1000);
        pct.changes.clear();
        for task in ALL {
            pct.spawned(task);
        }
        let mut tasks = ALL.to_vec();
        tasks.sort_by_key(|task| Reverse(pct.tasks.get(*task).unwrap().priority));
        pct.decide(
            Point { current: None, why: Why::Start, ran: 0, next: None, found: Default::default() },
            &ALL,
        );
        (pct, tasks)
    }

    fn point(current: TaskId, why: Why, ran: u64) -> Point {
        Point { current: Some(current), why, ran, next: None, found: Default::default() }
    }

    #[test]
    fn any_order_of_priorities_occurs() {
        let orders: std::collections::BTreeSet<_> = (0..60).map(|seed| unchanging(seed).1).collect();
        assert_eq!(orders.len(), 6);
    }

    #[test]
    fn the_highest_runnable_runs_and_one_that_wakes_takes_over_at_once() {
        let (mut pct, tasks) = unchanging(1);
        let mut lower = vec![tasks[1], tasks[2]];
        lower.sort_unstable();
        assert_eq!(pct.decide(point(tasks[0], Why::Blocked, 5), &lower).task, tasks[1]);
        assert_eq!(pct.decide(point(tasks[1], Why::SliceOver, 5), &lower).task, tasks[1]);
        assert_eq!(pct.decide(point(tasks[1], Why::Woken, 5), &ALL).task, tasks[0]);
    }

    #[test]
    fn who_yields_falls_below_all_others() {
        let (mut pct, tasks) = unchanging(2);
        let turns = [0, 1, 2, 0].map(|turn| pct.decide(point(tasks[turn], Why::Yielded, 1), &ALL).task);
        assert_eq!(turns, [tasks[1], tasks[2], tasks[0], tasks[1]]);
    }

    #[test]
    fn who_runs_for_long_falls_even_when_it_wakes_others_all_the_while() {
        for why in [Why::SliceOver, Why::Woken] {
            let (mut pct, tasks) = unchanging(3);
            assert_eq!(pct.decide(point(tasks[0], why, LONG_SLICE - 1), &ALL), Choice::plain(tasks[0], 1));
            assert_eq!(pct.decide(point(tasks[0], why, 1), &ALL).task, tasks[1], "{why:?}");
        }
    }

    #[test]
    fn the_running_task_falls_at_each_change_point() {
        let (mut pct, tasks) = unchanging(4);
        pct.changes = vec![150, 100];
        let ran = [(0, 60, 40), (0, 40, 50), (1, 50, LONG_SLICE)].map(|(turn, ran, slice)| {
            let choice = pct.decide(point(tasks[turn], Why::SliceOver, ran), &ALL);
            assert_eq!(choice.slice, slice);
            choice.task
        });
        assert_eq!(ran, [tasks[0], tasks[1], tasks[2]]);
    }

    #[test]
    fn ticks_of_a_task_alone_do_not_count() {
        let (mut pct, tasks) = unchanging(5);
        pct.changes = vec![100];
        pct.decide(point(tasks[1], Why::Blocked, 0), &[tasks[0]]);
        let alone = pct.decide(point(tasks[0], Why::SliceOver, 99_999), &[tasks[0]]);
        assert_eq!(alone, Choice::plain(tasks[0], LONG_SLICE));
        assert_eq!(pct.decide(point(tasks[0], Why::Woken, 300), &ALL), Choice::plain(tasks[0], 100));
    }

    #[test]
    fn change_points_lie_within_the_expected_ticks() {
        for seed in 0..200 {
            let changes = new(seed, 1024).changes;
            assert!((1..=16).contains(&changes.len()), "{}", changes.len());
            assert!(changes.iter().all(|tick| (1..=1024).contains(tick)), "{changes:?}");
            assert!(changes.is_sorted_by(|later, earlier| later >= earlier), "{changes:?}");
        }
        for expected_ticks in [0, 1, 2, u64::MAX] {
            assert!(!new(1, expected_ticks).changes.is_empty());
        }
    }
}
