//! Round robin with long timeslices: no chaos.
//!
//! It has a little noise: timeslices have random lengths, and sometimes a task gets its turn early. A strict order of
//! equal timeslices could keep tasks that run in loops in step forever: of several that race for something again and
//! again, the same one would always get it. Real schedulers are never that regular.

use rrtest_preload::layout::Turns;

use super::per_task::PerTask;
use crate::schedule::random::Random;
use crate::schedule::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Runs the runnable task that has not run for longest. A wake wakes the first waiter, and the waker goes on.
#[derive(Debug)]
pub(super) struct Fair {
    turns: Turns,
    /// When each task ran last or was created, in decisions.
    last_ran: PerTask<u64>,
    /// What is left of the current timeslice.
    left: u64,
}

impl Fair {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut random] = Random::streams(plan.seed);
        let turns = Turns { random: random.any().max(1), decisions: 0 };
        Self { turns, last_ran: PerTask::default(), left: 0 }
    }
}

impl Strategy for Fair {
    fn spawned(&mut self, task: TaskId) {
        self.last_ran.insert(task, self.turns.decisions);
    }

    fn exited(&mut self, task: TaskId) {
        self.last_ran.remove(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        let now = self.turns.decision();
        if let Some(last_ran) = point.current.and_then(|task| self.last_ran.get_mut(task)) {
            *last_ran = now;
        }
        self.left = self.left.saturating_sub(point.ran);
        match point.current {
            Some(task) if point.why == Why::Woken && self.left > 0 => Choice::plain(task, self.left),
            _ => {
                let Self { turns, last_ran, .. } = self;
                let ran = |at: usize| last_ran.get(runnable[at]).copied().unwrap_or(0);
                let turn = turns.next(runnable.len(), ran);
                self.left = turn.slice;
                Choice::plain(runnable[turn.index], turn.slice)
            }
        }
    }

    fn wake(&mut self, _waiters: &[TaskId]) -> usize {
        0
    }

    fn turns(&self) -> Option<Turns> {
        Some(self.turns)
    }

    fn last_ran(&self, task: TaskId) -> u64 {
        self.last_ran.get(task).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schedule::StrategyName;
    use rrtest_preload::turns::LONG_SLICE;

    fn point(current: u32, why: Why, ran: u64) -> Point {
        Point { current: Some(TaskId(current)), why, ran, next: None, found: Default::default() }
    }

    fn fair(tasks: u32) -> Fair {
        let mut fair = Fair::new(&Plan::new(StrategyName::Fair, 1));
        for task in 0..tasks {
            fair.spawned(TaskId(task));
        }
        fair.decide(
            Point { current: None, why: Why::Start, ran: 0, next: None, found: Default::default() },
            &[TaskId(0)],
        );
        fair
    }

    /// Returns `count` turns of four tasks.
    fn turns(count: usize) -> Vec<Choice> {
        let mut fair = fair(4);
        let runnable = [0, 1, 2, 3].map(TaskId);
        let mut current = 0;
        let mut turn = |_| {
            let choice = fair.decide(point(current, Why::SliceOver, LONG_SLICE), &runnable);
            current = choice.task.0;
            choice
        };
        (0..count).map(&mut turn).collect()
    }

    #[test]
    fn tasks_take_turns() {
        let turns = turns(1000);
        let in_turn = turns.windows(4).filter(|four| {
            let tasks: BTreeSet<TaskId> = four.iter().map(|choice| choice.task).collect();
            tasks.len() == 4
        });
        assert!(in_turn.count() > 600);
    }

    #[test]
    fn neither_order_nor_lengths_repeat_for_ever() {
        let turns = turns(1000);
        let orders: BTreeSet<Vec<TaskId>> =
            turns.chunks(4).map(|four| four.iter().map(|choice| choice.task).collect()).collect();
        assert!(orders.len() > 10, "{orders:?}");
        let lengths: BTreeSet<u64> = turns.iter().map(|choice| choice.slice).collect();
        assert!(lengths.len() > 800, "{}", lengths.len());
        assert!(lengths.iter().all(|length| (1..=LONG_SLICE).contains(length)));
    }

    #[test]
    fn a_blocked_task_comes_back_behind_those_that_waited() {
        let mut fair = fair(3);
        assert_eq!(fair.decide(point(0, Why::Blocked, 5), &[1, 2].map(TaskId)).task, TaskId(1));
        let all = [0, 1, 2].map(TaskId);
        assert_eq!(fair.decide(point(1, Why::SliceOver, LONG_SLICE), &all).task, TaskId(2));
        assert_eq!(fair.decide(point(2, Why::SliceOver, LONG_SLICE), &all).task, TaskId(0));
    }

    #[test]
    fn who_wakes_another_keeps_the_rest_of_the_slice() {
        let mut fair = fair(2);
        let runnable = [0, 1].map(TaskId);
        let Choice { task, slice, .. } = fair.decide(point(0, Why::SliceOver, LONG_SLICE), &runnable);
        let rest = Choice::plain(task, slice - 1);
        assert_eq!(fair.decide(point(task.0, Why::Woken, 1), &runnable), rest);
    }

    #[test]
    fn the_exited_are_forgotten() {
        let mut fair = fair(2);
        fair.exited(TaskId(0));
        assert_eq!(fair.decide(point(0, Why::Exited, 1), &[TaskId(1)]).task, TaskId(1));
        assert_eq!([0, 1].map(|task| fair.last_ran.get(TaskId(task)).is_some()), [false, true]);
    }

    #[test]
    fn the_first_waiter_is_woken() {
        assert_eq!(fair(1).wake(&[4, 2].map(TaskId)), 0);
    }
}
