//! Round robin with long timeslices: no chaos.

use std::collections::BTreeMap;

use super::LONG_SLICE;
use super::strategy::{Choice, Point, Strategy, Why};
use crate::task::TaskId;

/// Runs the runnable task that has not run for longest. A wake wakes the first waiter, and the waker goes on.
#[derive(Debug, Default)]
pub(super) struct Fair {
    /// When each task ran last or was created, in decisions.
    last_ran: BTreeMap<TaskId, u64>,
    decisions: u64,
    /// What is left of the current timeslice.
    left: u64,
}

impl Strategy for Fair {
    fn spawned(&mut self, task: TaskId) {
        self.last_ran.insert(task, self.decisions);
    }

    fn exited(&mut self, task: TaskId) {
        self.last_ran.remove(&task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        self.decisions += 1;
        if let Some(last_ran) = point.current.and_then(|task| self.last_ran.get_mut(&task)) {
            *last_ran = self.decisions;
        }
        self.left = self.left.saturating_sub(point.ran);
        match point.current {
            Some(task) if point.why == Why::Woken && self.left > 0 => Choice { task, slice: self.left },
            _ => {
                self.left = LONG_SLICE;
                let longest_waiting = runnable.iter().min_by_key(|task| self.last_ran.get(task));
                Choice { task: *longest_waiting.unwrap_or(&runnable[0]), slice: LONG_SLICE }
            }
        }
    }

    fn wake(&mut self, _waiters: &[TaskId]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(current: u32, why: Why, ran: u64) -> Point {
        Point { current: Some(TaskId(current)), why, ran, next: None }
    }

    fn fair(tasks: u32) -> Fair {
        let mut fair = Fair::default();
        for task in 0..tasks {
            fair.spawned(TaskId(task));
        }
        fair.decide(Point { current: None, why: Why::Start, ran: 0, next: None }, &[TaskId(0)]);
        fair
    }

    #[test]
    fn tasks_take_turns() {
        let mut fair = fair(4);
        let runnable = [0, 1, 2, 3].map(TaskId);
        let mut current = 0;
        let mut turns = Vec::new();
        for why in [Why::SliceOver, Why::Yielded].repeat(4) {
            current = fair.decide(point(current, why, LONG_SLICE), &runnable).task.0;
            turns.push(current);
        }
        assert_eq!(turns, [1, 2, 3, 0, 1, 2, 3, 0]);
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
        let rest = Choice { task: TaskId(0), slice: LONG_SLICE - 30 };
        assert_eq!(fair.decide(point(0, Why::Woken, 30), &runnable), rest);
        let spent = fair.decide(point(0, Why::Woken, LONG_SLICE), &runnable);
        assert_eq!(spent, Choice { task: TaskId(1), slice: LONG_SLICE });
    }

    #[test]
    fn the_exited_are_forgotten() {
        let mut fair = fair(2);
        fair.exited(TaskId(0));
        assert_eq!(fair.decide(point(0, Why::Exited, 1), &[TaskId(1)]).task, TaskId(1));
        assert_eq!(fair.last_ran.keys().collect::<Vec<_>>(), [&TaskId(1)]);
    }

    #[test]
    fn the_first_waiter_is_woken() {
        assert_eq!(fair(1).wake(&[4, 2].map(TaskId)), 0);
    }
}
