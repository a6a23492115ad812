//! Limits chaos in time (fairness fallback).
//!
//! A program may wait in a loop for what other tasks do, and rely on nobody being left out forever. Every operating
//! system's scheduler is fair in the end; unfair strategies, or regular ones, need not be. So a test that runs many
//! times longer than expected is scheduled fairly from then on. If it still does not end, it hangs.

use super::fair::Fair;
use crate::schedule::strategy::{Choice, Decided, Plan, Point, Strategy};
use crate::task::TaskId;

/// A test may run this many times as long as expected.
const TIMES: u64 = 50;

/// Lowest expectation, in ticks. With the factor above it means half a second of computing.
const LEAST: u64 = 200_000;

/// Lets another strategy decide until the program has run for long.
pub(super) struct FairnessFallback {
    chaos: Box<dyn Strategy>,
    fair: Fair,
    /// Ticks left to the other strategy.
    left: u64,
}

impl FairnessFallback {
    pub(super) fn new(chaos: Box<dyn Strategy>, plan: &Plan) -> Self {
        let left = plan.expected_ticks.max(LEAST).saturating_mul(TIMES);
        Self { chaos, fair: Fair::new(plan), left }
    }

    fn current(&mut self) -> &mut dyn Strategy {
        if self.left > 0 { &mut *self.chaos } else { &mut self.fair }
    }
}

impl Strategy for FairnessFallback {
    fn spawned(&mut self, task: TaskId) {
        self.chaos.spawned(task);
        self.fair.spawned(task);
    }

    fn exited(&mut self, task: TaskId) {
        self.chaos.exited(task);
        self.fair.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        self.left = self.left.saturating_sub(point.ran);
        self.current().decide(point, runnable)
    }

    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        self.current().wake(waiters)
    }

    fn be_fair(&mut self) {
        self.left = 0;
    }

    fn decided(&mut self) -> Vec<Decided> {
        self.chaos.decided()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{StrategyName, Why, build};
    use rrtest_preload::turns::LONG_SLICE;

    /// Counts how many of `count` turns each of three tasks gets that wait for each other in loops.
    fn turns(strategy: StrategyName, count: usize) -> [usize; 3] {
        turns_of(&mut *build(&Plan::new(strategy, 3)), count)
    }

    fn turns_of(strategy: &mut dyn Strategy, count: usize) -> [usize; 3] {
        let all = [0, 1, 2].map(TaskId);
        all.into_iter().for_each(|task| strategy.spawned(task));
        let mut point =
            Point { current: None, why: Why::Start, ran: 0, next: None, found: Default::default() };
        let mut turns = [0; 3];
        for _ in 0..count {
            let task = strategy.decide(point, &all).task;
            turns[task.0 as usize] += 1;
            point = Point { current: Some(task), why: Why::SliceOver, ran: LONG_SLICE, ..point };
        }
        turns
    }

    #[test]
    fn nobody_is_left_out_by_one_that_is_to_be_fair() {
        for strategy in StrategyName::ALL.into_iter().filter(|it| *it != StrategyName::Systematic) {
            let mut strategy = build(&Plan::new(strategy, 3));
            strategy.be_fair();
            let turns = turns_of(&mut *strategy, 300);
            assert!(turns.iter().all(|turns| *turns > 60), "{turns:?}");
        }
    }

    #[test]
    fn nobody_is_left_out_for_ever() {
        for strategy in StrategyName::ALL.into_iter().filter(|it| *it != StrategyName::Systematic) {
            let (before, after) = (turns(strategy, 1000), turns(strategy, 2000));
            let later: Vec<_> = before.iter().zip(after).map(|(before, after)| after - before).collect();
            assert!(later.iter().all(|turns| *turns > 200), "{strategy}: {later:?}");
        }
    }
}
