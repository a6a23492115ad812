//! Holds new tasks back, so that they start together.
//!
//! The first ticks of all threads in a pool are alike, and when the last thread is created the first ones have long
//! done their work. A bug that needs many of them at the same place is then out of reach of any later reordering.
//! Holding them back until their creator waits for them lets them start together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rrtest_preload::turns::LONG_SLICE;

use crate::schedule::strategy::{Point, Why};
use crate::task::TaskId;

/// New tasks that are held back.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    /// Whether new tasks are held back at all.
    hold: bool,
    /// The held-back tasks, each with its creator.
    held: BTreeMap<TaskId, TaskId>,
    /// Ticks since the first of them was held back.
    ticks: u64,
}

impl HeldBack {
    /// With `hold`, new tasks wait until their creator blocks, yields or exits, or has run for long.
    pub(super) fn new(hold: bool) -> Self {
        Self { hold, ..Self::default() }
    }

    /// Notes that `creator`, if there is one, has created `task`.
    pub(super) fn spawned(&mut self, task: TaskId, creator: Option<TaskId>) {
        if let Some(creator) = creator.filter(|_| self.hold) {
            if self.held.is_empty() {
                self.ticks = 0;
            }
            self.held.insert(task, creator);
        }
    }

    /// Notes that `task` has ended.
    pub(super) fn exited(&mut self, task: TaskId) {
        self.held.retain(|held, creator| *held != task && *creator != task);
    }

    /// Returns the runnable tasks that may run. Never empty.
    pub(super) fn candidates<'a>(&mut self, point: Point, runnable: &'a [TaskId]) -> Cow<'a, [TaskId]> {
        self.ticks += point.ran;
        if self.ticks > LONG_SLICE {
            self.held.clear();
        }
        if matches!(point.why, Why::Blocked | Why::Exited | Why::Yielded) {
            self.held.retain(|_, creator| Some(*creator) != point.current);
        }
        if self.held.is_empty() {
            return Cow::Borrowed(runnable);
        }
        let candidates: Vec<TaskId> =
            runnable.iter().copied().filter(|task| !self.held.contains_key(task)).collect();
        if candidates.is_empty() {
            self.held.clear();
            return Cow::Borrowed(runnable);
        }
        Cow::Owned(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [TaskId; 4] = [TaskId(0), TaskId(1), TaskId(2), TaskId(3)];

    fn point(current: u32, why: Why, ran: u64) -> Point {
        Point { current: Some(TaskId(current)), why, ran, next: None, found: Default::default() }
    }

    /// Task 0 has created tasks 2 and 3; task 1 is older.
    fn held_back() -> HeldBack {
        let mut held_back = HeldBack::new(true);
        held_back.spawned(TaskId(2), Some(TaskId(0)));
        held_back.spawned(TaskId(3), Some(TaskId(0)));
        held_back
    }

    #[test]
    fn new_tasks_wait_until_their_creator_does() {
        for why in [Why::Blocked, Why::Exited, Why::Yielded] {
            let mut held_back = held_back();
            assert_eq!(*held_back.candidates(point(0, Why::Woken, 1), &ALL), ALL[..2]);
            assert_eq!(*held_back.candidates(point(0, Why::SliceOver, 1), &ALL), ALL[..2]);
            assert_eq!(*held_back.candidates(point(1, Why::Blocked, 1), &ALL), ALL[..2]);
            assert_eq!(*held_back.candidates(point(0, why, 1), &ALL), ALL, "{why:?}");
        }
    }

    #[test]
    fn new_tasks_start_when_nobody_else_can_run() {
        assert_eq!(*held_back().candidates(point(1, Why::Blocked, 1), &ALL[2..]), ALL[2..]);
    }

    #[test]
    fn new_tasks_do_not_wait_for_ever() {
        let mut held_back = held_back();
        assert_eq!(*held_back.candidates(point(0, Why::SliceOver, LONG_SLICE), &ALL), ALL[..2]);
        assert_eq!(*held_back.candidates(point(0, Why::SliceOver, 1), &ALL), ALL);
    }

    #[test]
    fn the_first_task_and_those_not_to_be_held_run_at_once() {
        let mut held_back = HeldBack::new(true);
        held_back.spawned(TaskId(0), None);
        assert_eq!(*held_back.candidates(point(0, Why::Start, 0), &ALL[..1]), ALL[..1]);
        let mut held_back = HeldBack::new(false);
        held_back.spawned(TaskId(1), Some(TaskId(0)));
        assert_eq!(*held_back.candidates(point(0, Why::Woken, 0), &ALL[..2]), ALL[..2]);
    }
}
