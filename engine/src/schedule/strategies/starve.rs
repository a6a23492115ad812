//! Starvation: some tasks do not run for a while.
//!
//! After the chaos mode of rr (O'Callahan, "Introducing rr Chaos Mode", 2016): there, tasks of low priority do not run
//! at all for intervals whose length is drawn on a logarithmic scale, since nobody knows how long a task must be kept
//! from running for a bug to show. Here the scale goes up to the length of the test, so that several intervals of a
//! suitable length fit into each recording, and the tasks are drawn anew for each interval.

use rrtest_preload::turns::LONG_SLICE;

use super::held_back::HeldBack;
use crate::schedule::random::Random;
use crate::schedule::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Base-2 logarithm of the longest interval, if the test's length is unknown.
const LOG_LONGEST: u64 = 13;

/// A recording of the expected length has at most about 2 to this power intervals, and as many again each time it turns
/// out twice as long.
const LOG_MOST: u64 = 10;

/// In an interval a recording starves one task in 2, 4, … up to 2 to this power.
const RAREST: u64 = 3;

/// Starves random tasks for random times.
#[derive(Debug)]
pub(super) struct Starve {
    order: Random,
    wakes: Random,
    /// Range of the base-2 logarithm of an interval's ticks.
    log_lengths: std::ops::RangeInclusive<u64>,
    /// Ticks of all tasks so far, and the logarithm of the test's length to which the intervals are adapted.
    ticks: u64,
    log_length: u64,
    /// One task in this many is starved.
    rarity: u64,
    /// What is left of the interval.
    left: u64,
    /// Determines the starved tasks, and the order of the others.
    salt: u64,
    held_back: HeldBack,
    running: Option<TaskId>,
}

impl Starve {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let longest = match plan.expected_ticks {
            0 => LOG_LONGEST,
            ticks => u64::from(ticks.clamp(2, 1 << 40).ilog2()),
        };
        let shortest = longest.saturating_sub(LOG_MOST);
        // Half of the recordings use a single length.
        let log_lengths = if order.chance(1, 2) {
            let log = shortest + order.below(longest - shortest + 1);
            log..=log
        } else {
            shortest..=longest
        };
        let rarity = 2 << order.below(RAREST);
        let held_back = HeldBack::new(order.chance(1, 2));
        Self {
            order,
            wakes,
            log_lengths,
            ticks: 0,
            log_length: longest,
            rarity,
            left: 0,
            salt: 0,
            held_back,
            running: None,
        }
    }

    /// Accounts for ticks that have passed.
    fn account(&mut self, ran: u64) {
        self.left = self.left.saturating_sub(ran);
        self.ticks = self.ticks.saturating_add(ran);
        while self.log_length < 62 && self.ticks >> (self.log_length + 1) > 0 {
            self.log_length += 1;
            self.log_lengths = self.log_lengths.start() + 1..=self.log_lengths.end() + 1;
        }
    }

    fn begin(&mut self) {
        let (shortest, longest) = (*self.log_lengths.start(), *self.log_lengths.end());
        let length = 1 << (shortest + self.order.below(longest - shortest + 1));
        self.left = 1 + self.order.below(2 * length);
        self.salt = self.order.any();
    }

    /// Returns a task's rank in this interval. Starved tasks rank last.
    fn rank(&self, task: TaskId) -> (bool, u64) {
        let [mut numbers] = Random::streams(self.salt ^ u64::from(task.0));
        (numbers.chance(1, self.rarity), numbers.any())
    }
}

impl Strategy for Starve {
    fn spawned(&mut self, task: TaskId) {
        self.held_back.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.held_back.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        self.account(point.ran);
        let spins = point.why == Why::Yielded || point.why == Why::SliceOver && point.ran >= LONG_SLICE;
        // A task that waits in a loop for a starved one must not wait for long.
        if self.left == 0 || spins && self.order.chance(1, 4) {
            self.begin();
        }
        let candidates = self.held_back.candidates(point, runnable);
        let others = candidates.len() > 1;
        let gives_way = point.current.filter(|_| spins && others);
        let first = candidates.iter().copied().filter(|task| Some(*task) != gives_way);
        let task = first.min_by_key(|task| self.rank(*task)).unwrap_or(runnable[0]);
        self.running = Some(task);
        Choice::plain(task, if runnable.len() == 1 { LONG_SLICE } else { self.left.clamp(1, LONG_SLICE) })
    }

    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        self.wakes.index(waiters.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schedule::StrategyName;

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    fn starve(seed: u64, expected_ticks: u64) -> Starve {
        Starve::new(&Plan { expected_ticks, ..Plan::new(StrategyName::Starve, seed) })
    }

    fn point(current: TaskId, why: Why, ran: u64) -> Point {
        Point { current: Some(current), why, ran, next: None, found: Default::default() }
    }

    #[test]
    fn within_an_interval_the_same_task_runs_whenever_it_can() {
        let mut starve = starve(1, 1 << 13);
        starve.begin();
        starve.left = 1000;
        let first = starve.decide(point(ALL[0], Why::SliceOver, 10), &ALL);
        assert_eq!(first.slice, 990);
        let others: Vec<TaskId> = ALL.into_iter().filter(|task| *task != first.task).collect();
        assert_ne!(starve.decide(point(first.task, Why::Blocked, 10), &others).task, first.task);
        assert_eq!(starve.decide(point(others[0], Why::Woken, 10), &ALL).task, first.task);
    }

    #[test]
    fn intervals_change_who_runs() {
        let mut starve = starve(2, 1 << 10);
        let mut current = ALL[0];
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            let choice = starve.decide(point(current, Why::SliceOver, starve.left), &ALL);
            current = choice.task;
            seen.insert(current);
        }
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn lengths_follow_those_of_the_test() {
        for (ticks, longest) in [(0, 1 << 14), (1, 4), (1 << 20, 1 << 21), (u64::MAX, 1 << 41)] {
            for seed in 0..50 {
                let mut starve = starve(seed, ticks);
                starve.begin();
                assert!((1..=longest).contains(&starve.left), "{ticks}: {}", starve.left);
            }
        }
    }

    #[test]
    fn a_long_test_does_not_have_many_more_intervals_than_a_short_one() {
        for seed in 0..30 {
            let mut starve = starve(seed, 0);
            let (mut point, mut ticks, mut intervals) =
                (point(ALL[0], Why::SliceOver, 0), 0_u64, BTreeSet::new());
            while ticks < 1 << 24 {
                let choice = starve.decide(point, &ALL);
                // The running task need not wait for others: it goes on.
                point = Point { current: Some(choice.task), why: Why::Woken, ran: choice.slice, ..point };
                ticks += choice.slice;
                intervals.insert(starve.salt);
            }
            assert!(intervals.len() < 12 << LOG_MOST, "{seed}: {}", intervals.len());
        }
    }

    #[test]
    fn who_spins_gives_way() {
        for seed in 0..20 {
            let mut starve = starve(seed, 1 << 13);
            let first = starve.decide(point(ALL[0], Why::SliceOver, 1), &ALL).task;
            assert_ne!(starve.decide(point(first, Why::Yielded, 1), &ALL).task, first);
        }
    }
}
