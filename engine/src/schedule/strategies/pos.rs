//! Random priorities of operations: partial order sampling.
//!
//! After Yuan, Yang & Gu, "Partial Order Aware Concurrency Sampling" (CAV 2018): the operation that each task is about
//! to do has a random priority; the highest runs next, and its task draws a new priority for its next operation.
//! Operations that race with it, because they access the same object and one of the two writes, draw new priorities
//! too. So orders that tasks cannot distinguish are not tried again and again.
//!
//! What is particular here:
//!
//! - Only operations on objects that tasks share count, as far as that is known ([`rrtest_preload::objects`]). The
//!   priorities are drawn, and compared with the highest of the other tasks, inside the process: a task stops only
//!   before an operation that has to wait, or with which others may race.
//! - A task whose pending operation is unknown, because it has just been created or woken, has a priority all the same.
//! - A task that yields or runs for long falls behind all others.
//! - A guided schedule has tasks stop before every operation that counts, so that whoever looks on sees in which order
//!   they are done; and it draws other numbers from certain decisions on ([`Branch`]).

use std::collections::VecDeque;

use rrtest_preload::objects::mark;
use rrtest_preload::turns::LONG_SLICE;

use super::held_back::HeldBack;
use super::per_task::PerTask;
use crate::schedule::names::StrategyName;
use crate::schedule::random::Random;
use crate::schedule::strategy::{AccessWatch, Branch, Choice, Operation, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Base-2 logarithm of the operations that a recording counts, at least and at most, before it counts ever fewer.
const BUDGET: std::ops::Range<u64> = 6..11;

/// With fewer operations than this, all count in a guided schedule.
const FEW: u64 = 1 << 14;

/// At objects that no other task has touched yet, a quarter of the recordings stop only once in 2, 4, … up to 2 to this
/// power times.
const MOST_ALONE: u64 = 4;

/// Runs the task that is about to do the operation with the highest priority.
#[derive(Debug)]
pub(super) struct Pos {
    order: Random,
    wakes: Random,
    pending: PerTask<Pending>,
    /// The lowest priority given so far. Hardly any priority is drawn from below its initial value.
    lowest: u64,
    budget: u32,
    /// How rarely a task stops at objects that no other task has touched yet, as a power of 2.
    alone: u32,
    held_back: HeldBack,
    running: Option<TaskId>,
    /// Whether tasks stop before every operation that counts.
    sees_all: bool,
    /// Those ahead.
    branches: VecDeque<Branch>,
    decisions: u64,
}

/// The operation that a task is about to do.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// `None` if it is still to be drawn.
    priority: Option<u64>,
    /// The object's address, and whether it is written.
    touches: Option<(u64, bool)>,
}

impl Pending {
    fn races_with(&self, other: &Self) -> bool {
        matches!((self.touches, other.touches), (Some((a, wa)), Some((b, wb))) if a == b && (wa || wb))
    }
}

impl Pos {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let sees_all = plan.strategy == StrategyName::Guided;
        let drawn = BUDGET.start + order.below(BUDGET.end - BUDGET.start);
        let few = plan.events.iter().sum::<u64>() < FEW;
        let budget = match sees_all {
            true if few => AccessWatch::ALL,
            true => BUDGET.end as u32,
            false => drawn as u32,
        };
        let alone = if order.chance(3, 4) { 0 } else { 1 + order.below(MOST_ALONE) as u32 };
        let held_back = HeldBack::new(order.chance(2, 3));
        Self {
            order,
            wakes,
            pending: PerTask::default(),
            lowest: 1 << 40,
            budget,
            alone,
            held_back,
            running: None,
            sees_all,
            branches: plan.branches.iter().copied().collect(),
            decisions: 0,
        }
    }

    /// Counts a decision, and takes the branch that is due with it.
    fn advance(&mut self) {
        while let Some(branch) = self.branches.front().filter(|branch| branch.decision <= self.decisions) {
            [self.order, self.wakes] = Random::streams(branch.seed);
            self.branches.pop_front();
            // Priorities that were drawn before would decide as before.
            self.pending.values_mut().for_each(|pending| pending.priority = None);
        }
        self.decisions += 1;
    }

    /// Returns the operation that `current` has come to.
    fn arrived(&mut self, point: Point) -> Pending {
        let touches = match point.next {
            Some(Operation::Memory { address, writes }) => Some((address, writes)),
            _ => None,
        };
        let priority = match point.why {
            Why::Met => Some(point.found.drawn),
            Why::Yielded | Why::SliceOver => {
                self.lowest = self.lowest.saturating_sub(1);
                Some(self.lowest)
            }
            _ => None,
        };
        Pending { priority, touches }
    }

    fn priority(&mut self, task: TaskId) -> u64 {
        let Self { order, pending, .. } = self;
        pending.get_mut(task).map_or(0, |it| *it.priority.get_or_insert_with(|| order.any()))
    }
}

impl Strategy for Pos {
    fn spawned(&mut self, task: TaskId) {
        self.pending.insert(task, Pending::default());
        self.held_back.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.pending.remove(task);
        self.held_back.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        if let Some(current) = point.current
            && self.pending.get(current).is_some()
        {
            let arrived = self.arrived(point);
            self.pending.insert(current, arrived);
        }
        self.advance();
        let candidates = self.held_back.candidates(point, runnable);
        let highest = candidates.iter().copied().max_by_key(|task| self.priority(*task));
        let task = highest.unwrap_or(runnable[0]);
        self.running = Some(task);
        let done = self.pending.get(task).copied().unwrap_or_default();
        let (mut bar, mut pending) = (0, 0);
        for other in candidates.iter().copied().filter(|other| *other != task) {
            if let Some(it) = self.pending.get_mut(other) {
                if it.races_with(&done) {
                    it.priority = None;
                }
                pending |= it.touches.map_or(0, |(address, _)| mark(address));
            }
            bar = bar.max(self.priority(other));
        }
        let bar = if self.sees_all { u64::MAX } else { bar };
        let access_watch =
            AccessWatch { bar, random: self.order.any(), pending, alone: self.alone, budget: self.budget };
        Choice { task, slice: LONG_SLICE, access_watch: Some(access_watch) }
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

    fn pos(seed: u64) -> Pos {
        let mut pos = Pos::new(&Plan::new(StrategyName::Pos, seed));
        pos.held_back = HeldBack::new(false);
        ALL.into_iter().for_each(|task| pos.spawned(task));
        pos
    }

    fn met(current: TaskId, address: u64, writes: bool, drawn: u64) -> Point {
        let next = Some(Operation::Memory { address, writes });
        Point { current: Some(current), why: Why::Met, ran: 1, next, found: Hits { events: 1, drawn } }
    }

    #[test]
    fn the_highest_operation_is_next_and_the_second_is_the_bar() {
        let mut pos = pos(1);
        for (task, priority) in ALL.into_iter().zip([70, 90, 80]) {
            pos.pending
                .insert(task, Pending { priority: Some(priority), touches: Some((task.0.into(), true)) });
        }
        let choice = pos.decide(met(ALL[0], 8, true, 75), &ALL);
        let AccessWatch { bar, pending, .. } = choice.access_watch.unwrap();
        assert_eq!((choice.task, bar), (ALL[1], 80));
        assert_eq!(pending, mark(8) | mark(2));
        assert_eq!(pos.decide(met(ALL[1], 24, true, 85), &ALL).task, ALL[1]);
        assert_eq!(pos.decide(met(ALL[1], 16, true, 79), &ALL).task, ALL[2]);
    }

    #[test]
    fn those_that_race_with_an_operation_draw_anew() {
        for (mine, other, anew) in
            [(true, true, true), (true, false, true), (false, true, true), (false, false, false)]
        {
            let mut pos = pos(2);
            for (task, address, writes) in [(ALL[1], 8, other), (ALL[2], 16, other)] {
                pos.pending.insert(task, Pending { priority: Some(5), touches: Some((address, writes)) });
            }
            assert_eq!(pos.decide(met(ALL[0], 8, mine, 6), &ALL).task, ALL[0]);
            let priorities = [1, 2].map(|task| pos.pending.get(ALL[task]).unwrap().priority);
            assert_eq!(priorities[0] != Some(5), anew);
            assert_eq!(priorities[1], Some(5));
        }
    }

    #[test]
    fn who_yields_or_runs_for_long_goes_behind_all_others() {
        for why in [Why::Yielded, Why::SliceOver] {
            let mut pos = pos(3);
            let point = |task| Point { why, ..met(task, 0, false, 0) };
            let next = pos.decide(point(ALL[0]), &ALL).task;
            assert_ne!(next, ALL[0]);
            let last = pos.decide(point(next), &ALL).task;
            assert!(last != ALL[0] && last != next);
        }
    }

    #[test]
    fn a_branch_changes_what_comes_after_it_and_nothing_before() {
        let choices = |branches: &[Branch]| {
            let plan = Plan { branches: branches.to_vec(), ..Plan::new(StrategyName::Guided, 4) };
            let mut pos = Pos::new(&plan);
            ALL.into_iter().for_each(|task| pos.spawned(task));
            let mut current = ALL[0];
            let choices = (0..40).map(|drawn| {
                let choice = pos.decide(met(current, 8, true, drawn << 40), &ALL);
                current = choice.task;
                choice
            });
            choices.collect::<Vec<_>>()
        };
        let plain = choices(&[]);
        assert!(plain.iter().all(|choice| choice.access_watch.is_some_and(|it| it.bar == u64::MAX)));
        let branched = choices(&[Branch { decision: 20, seed: 9 }]);
        assert_eq!(plain[..20], branched[..20]);
        assert_ne!(plain[20..], branched[20..]);
        let twice = choices(&[Branch { decision: 20, seed: 9 }, Branch { decision: 30, seed: 10 }]);
        assert_eq!(branched[..30], twice[..30]);
        assert_ne!(branched[30..], twice[30..]);
    }
}
