//! All orders of operations on shared objects with equal probability, as far as their numbers are known.
//!
//! After Zhao, Wolff, Mathur & Roychoudhury, "Selectively Uniform Concurrency Testing" (ASPLOS 2025): if the next
//! operation is one of a task with a probability proportional to the operations that the task has left, all
//! interleavings are equally likely; a plain random walk prefers those in which tasks finish at about the same time.
//! Only operations of interest count, here those on objects that tasks share ([`rrtest_preload::objects`]). Their
//! numbers come from an earlier recording ([`crate::schedule::portfolio`]).
//!
//! If nothing is known of a task, its number is drawn on a logarithmic scale: then some tasks are much faster than
//! others, differently in each recording. Every other recording draws all numbers like that. A task's turns have random
//! length: after each operation that counts, it goes on with the probability with which it would be chosen again.

use rrtest_preload::turns::LONG_SLICE;

use super::held_back::HeldBack;
use super::per_task::PerTask;
use crate::schedule::random::Random;
use crate::schedule::strategy::{AccessWatch, Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Base-2 logarithm of the largest number that is drawn.
const LOG_EVENTS: u64 = 10;

/// Base-2 logarithm of the operations that a recording counts, at least and at most, before it counts ever fewer.
const BUDGET: std::ops::Range<u64> = 6..11;

/// At objects that no other task has touched yet, a quarter of the recordings stop only once in 2, 4, … up to 2 to this
/// power times.
const MOST_ALONE: u64 = 4;

/// Chooses tasks in proportion to the operations that they have left.
#[derive(Debug)]
pub(super) struct Surw {
    order: Random,
    wakes: Random,
    /// Operations that each task has left.
    left: PerTask<u64>,
    /// Expected operations of each task in total, by task number, if known.
    expected: Vec<u64>,
    budget: u32,
    /// How rarely a task stops at objects that no other task has touched yet, as a power of 2.
    alone: u32,
    /// By how many bits timeslices are shortened because earlier ones were used up.
    impatience: u32,
    held_back: HeldBack,
    running: Option<TaskId>,
}

/// Timeslices are shortened by at most this many bits.
const MOST_IMPATIENT: u32 = 4;

impl Surw {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let budget = (BUDGET.start + order.below(BUDGET.end - BUDGET.start)) as u32;
        let known = order.chance(1, 2);
        let expected = if known { plan.events.clone() } else { Vec::new() };
        let alone = if order.chance(3, 4) { 0 } else { 1 + order.below(MOST_ALONE) as u32 };
        let held_back = HeldBack::new(order.chance(2, 3));
        Self {
            order,
            wakes,
            left: PerTask::default(),
            expected,
            budget,
            alone,
            impatience: 0,
            held_back,
            running: None,
        }
    }

    /// Returns a task's weight. A task that does more than expected still has something left.
    fn weight(&self, task: TaskId) -> u64 {
        self.left.get(task).map_or(1, |left| (*left).clamp(1, 1 << 32))
    }
}

impl Strategy for Surw {
    fn spawned(&mut self, task: TaskId) {
        let drawn = 1 << self.order.below(LOG_EVENTS + 1);
        self.left.insert(task, self.expected.get(task.0 as usize).copied().unwrap_or(drawn));
        self.held_back.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.left.remove(task);
        self.held_back.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        if let Some(left) = point.current.and_then(|task| self.left.get_mut(task)) {
            *left = left.saturating_sub(point.found.events);
            // A task that waits in a loop comes no nearer to its end.
            if matches!(point.why, Why::Yielded | Why::SliceOver) {
                *left /= 2;
                self.impatience = (self.impatience + 1).min(MOST_IMPATIENT);
            }
        }
        let candidates = self.held_back.candidates(point, runnable);
        // A task at the end of its turn has made this draw already.
        let over = matches!(point.why, Why::Met | Why::Yielded | Why::SliceOver) && candidates.len() > 1;
        let away = point.current.filter(|_| over);
        let mut draw = self.order.clone();
        let (_, random) = (self.order.any(), self.order.any());
        let weights =
            || candidates.iter().filter(|task| Some(**task) != away).map(|it| (*it, self.weight(*it)));
        let all: u64 = weights().map(|(_, weight)| weight).sum();
        let mut at = draw.below(all);
        let task = weights().find(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let task = task.map_or(runnable[0], |(task, _)| task);
        self.running = Some(task);
        let all: u64 = candidates.iter().map(|task| self.weight(*task)).sum();
        let others = all - self.weight(task).min(all);
        let bar = ((u128::from(others) << 64) / u128::from(all.max(1))).min(u64::MAX.into()) as u64;
        let access_watch = AccessWatch { bar, random, pending: 0, alone: self.alone, budget: self.budget };
        let alone = runnable.len() == 1;
        Choice {
            task,
            slice: if alone { LONG_SLICE } else { LONG_SLICE >> self.impatience },
            access_watch: Some(access_watch),
        }
    }

    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        self.wakes.index(waiters.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Hits, StrategyName};

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    fn surw(seed: u64, left: [u64; 3]) -> Surw {
        let plan = Plan { events: left.to_vec(), ..Plan::new(StrategyName::Surw, seed) };
        let mut surw = Surw::new(&plan);
        surw.held_back = HeldBack::new(false);
        surw.expected = plan.events;
        ALL.into_iter().for_each(|task| surw.spawned(task));
        surw
    }

    fn point(current: TaskId, why: Why, events: u64) -> Point {
        Point { current: Some(current), why, ran: 1, next: None, found: Hits { events, drawn: 0 } }
    }

    #[test]
    fn tasks_are_chosen_by_what_they_have_left() {
        let mut counts = [0; 3];
        for seed in 0..1000 {
            counts[surw(seed, [1, 30, 10]).decide(point(ALL[0], Why::Met, 0), &ALL).task.0 as usize] += 1;
        }
        assert_eq!(counts[0], 0);
        assert!((690..810).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn the_bar_is_the_share_of_the_others() {
        let mut surw = surw(1, [10, 30, 1]);
        let choice = surw.decide(point(ALL[0], Why::Blocked, 0), &ALL[1..2]);
        assert_eq!((choice.task, choice.access_watch.unwrap().bar), (ALL[1], 0));
        let choice = surw.decide(point(ALL[1], Why::Met, 20), &ALL[..2]);
        assert_eq!((choice.task, choice.access_watch.unwrap().bar), (ALL[0], 1 << 63));
    }

    #[test]
    fn who_does_more_than_expected_can_still_be_chosen() {
        let mut surw = surw(1, [1, 1, 1]);
        surw.decide(point(ALL[1], Why::Met, 20), &ALL);
        assert_eq!(surw.weight(ALL[1]), 1);
    }
}
