//! Everybody in turn, with long timeslices: no chaos.
//!
//! Lengths and order are random, within a round in which each task gets its turn. Equal timeslices in a fixed order would
//! keep tasks that run in loops in step for ever: of several that race for something again and again, always the same
//! one would get it. Real schedulers are never that regular.

use std::collections::BTreeMap;

use super::LONG_SLICE;
use super::random::Random;
use super::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Each round runs every runnable task once. A wake wakes the first waiter, and the waker goes on.
#[derive(Debug)]
pub(super) struct Fair {
    random: Random,
    /// The round in which each task had its last turn.
    turns: BTreeMap<TaskId, u64>,
    round: u64,
    /// What is left of the current timeslice.
    left: u64,
}

impl Fair {
    pub(super) fn new(plan: &Plan) -> Self {
        let [random] = Random::streams(plan.seed);
        Self { random, turns: BTreeMap::new(), round: 1, left: 0 }
    }

    /// A task that has not had its turn; a new round if all have.
    fn next(&mut self, runnable: &[TaskId]) -> TaskId {
        let waits = |fair: &Self, task: &TaskId| fair.turns.get(task).is_none_or(|round| *round < fair.round);
        let waiting: Vec<TaskId> = runnable.iter().copied().filter(|task| waits(self, task)).collect();
        if let Some(task) = self.random.pick(&waiting) {
            return task;
        }
        self.round += 1;
        self.random.pick(runnable).unwrap_or(runnable[0])
    }
}

impl Strategy for Fair {
    fn spawned(&mut self, _task: TaskId) {}

    fn exited(&mut self, task: TaskId) {
        self.turns.remove(&task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        self.left = self.left.saturating_sub(point.ran);
        let task = match point.current {
            Some(task) if point.why == Why::Woken && self.left > 0 => task,
            _ => {
                self.left = 1 + self.random.below(LONG_SLICE);
                self.next(runnable)
            }
        };
        self.turns.insert(task, self.round);
        Choice { task, slice: self.left }
    }

    fn wake(&mut self, _waiters: &[TaskId]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schedule::StrategyName;

    const PLAN: Plan = Plan { strategy: StrategyName::Fair, seed: 1, expected_ticks: 0 };

    fn point(current: u32, why: Why, ran: u64) -> Point {
        Point { current: Some(TaskId(current)), why, ran, next: None }
    }

    fn fair(tasks: u32) -> Fair {
        let mut fair = Fair::new(&PLAN);
        for task in 0..tasks {
            fair.spawned(TaskId(task));
        }
        fair.decide(Point { current: None, why: Why::Start, ran: 0, next: None }, &[TaskId(0)]);
        fair
    }

    /// The choices of so many rounds among four tasks.
    fn rounds(count: usize) -> Vec<Vec<Choice>> {
        let mut fair = Fair::new(&PLAN);
        let runnable = [0, 1, 2, 3].map(TaskId);
        let mut current = 0;
        let mut turn = |_| {
            let choice = fair.decide(point(current, Why::SliceOver, LONG_SLICE), &runnable);
            current = choice.task.0;
            choice
        };
        (0..count).map(|_| (0..4).map(&mut turn).collect()).collect()
    }

    #[test]
    fn every_task_has_its_turn_in_each_round() {
        for round in rounds(20) {
            let tasks: BTreeSet<TaskId> = round.iter().map(|choice| choice.task).collect();
            assert_eq!(tasks.len(), 4);
        }
    }

    #[test]
    fn neither_order_nor_lengths_repeat() {
        let rounds = rounds(50);
        let orders: BTreeSet<Vec<TaskId>> =
            rounds.iter().map(|round| round.iter().map(|choice| choice.task).collect()).collect();
        assert!(orders.len() > 10, "{orders:?}");
        let lengths: BTreeSet<u64> = rounds.iter().flatten().map(|choice| choice.slice).collect();
        assert!(lengths.len() > 150, "{lengths:?}");
        assert!(lengths.iter().all(|length| (1..=LONG_SLICE).contains(length)));
    }

    #[test]
    fn a_task_that_comes_back_does_not_wait_for_the_next_round() {
        let mut fair = fair(3);
        let all = [0, 1, 2].map(TaskId);
        // Task 0 has had its turn; 1 has its own; then 2 comes back.
        assert_eq!(fair.decide(point(0, Why::Blocked, 5), &[TaskId(1)]).task, TaskId(1));
        assert_eq!(fair.decide(point(1, Why::SliceOver, LONG_SLICE), &all).task, TaskId(2));
    }

    #[test]
    fn who_wakes_another_keeps_the_rest_of_the_slice() {
        let mut fair = fair(2);
        let runnable = [0, 1].map(TaskId);
        let Choice { task, slice } = fair.decide(point(1, Why::SliceOver, LONG_SLICE), &runnable);
        let rest = Choice { task, slice: slice - 1 };
        assert_eq!(fair.decide(point(task.0, Why::Woken, 1), &runnable), rest);
        assert_ne!(fair.decide(point(task.0, Why::Woken, LONG_SLICE), &runnable).task, task);
    }

    #[test]
    fn the_exited_are_forgotten() {
        let mut fair = fair(2);
        fair.exited(TaskId(0));
        assert_eq!(fair.decide(point(0, Why::Exited, 1), &[TaskId(1)]).task, TaskId(1));
        assert_eq!(fair.turns.keys().collect::<Vec<_>>(), [&TaskId(1)]);
    }

    #[test]
    fn the_first_waiter_is_woken() {
        assert_eq!(fair(1).wake(&[4, 2].map(TaskId)), 0);
    }
}
