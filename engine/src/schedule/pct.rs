//! Priorities with random change points.
//!
//! After Burckhardt, Kothari, Musuvathi & Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding
//! Bugs" (ASPLOS 2010): each task gets a random priority, the highest runnable one runs, and at d − 1 ticks drawn
//! beforehand the running task falls below all others. A bug that takes d ordered steps shows with probability at
//! least 1 / (n · k^(d − 1)), for n tasks and k ticks.
//!
//! Two things the paper leaves open. A task that waits for another in a loop would keep the core for ever: it falls
//! below all others when it yields, or has run for long since it last fell. And k is known only roughly (see
//! [`super::portfolio`]), since libraries and test harness count too: half of the recordings draw their change points evenly
//! among the k ticks, the other half evenly on a logarithmic scale.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LONG_SLICE;
use super::newborns::Newborns;
use super::random::Random;
use super::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Change points of a recording: 1 up to this many, so that d is 2 to 4.
const MOST_CHANGES: u64 = 3;

/// If nothing is known of k, its logarithm is drawn from these (to the base 2).
const LOG_TICKS: std::ops::Range<u64> = 6..16;

/// Runs the highest priority; changes priorities at a few random ticks.
#[derive(Debug)]
pub(super) struct Pct {
    order: Random,
    wakes: Random,
    tasks: BTreeMap<TaskId, Standing>,
    /// Ticks at which the running task falls, the first one last.
    changes: Vec<u64>,
    /// Ticks so far, not counting those for which no other task could have run.
    ticks: u64,
    /// Whether another task could have run since the last decision.
    contended: bool,
    /// The lowest priority given so far.
    lowest: i64,
    newborns: Newborns,
    running: Option<TaskId>,
}

/// How a task stands among the others.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The higher runs. Positive until the task falls for the first time.
    priority: i64,
    /// What it may run until it falls, in ticks.
    patience: u64,
}

impl Pct {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let ticks = match plan.expected_ticks {
            0 => 1 << (LOG_TICKS.start + order.below(LOG_TICKS.end - LOG_TICKS.start)),
            ticks => ticks,
        };
        let even = order.chance(1, 2);
        let mut changes: Vec<u64> = (0..1 + order.below(MOST_CHANGES))
            .map(|_| {
                let bound = if even { ticks } else { 2 << order.below(ticks.ilog2().into()) };
                1 + order.below(bound)
            })
            .collect();
        changes.sort_unstable_by_key(|tick| Reverse(*tick));
        let newborns = Newborns::new(order.chance(1, 2));
        let tasks = BTreeMap::new();
        Self { order, wakes, tasks, changes, ticks: 0, contended: false, lowest: 0, newborns, running: None }
    }

    /// `task` falls below all others.
    fn fall(&mut self, task: TaskId) {
        self.lowest -= 1;
        self.tasks.insert(task, Standing { priority: self.lowest, patience: LONG_SLICE });
    }

    /// What happened to the current task since the last decision.
    fn account(&mut self, current: TaskId, why: Why, ran: u64) {
        self.ticks += ran;
        let Some(standing) = self.tasks.get_mut(&current) else { return };
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
        self.newborns.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.newborns.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        if let Some(current) = point.current {
            self.account(current, point.why, if self.contended { point.ran } else { 0 });
        }
        let candidates = self.newborns.candidates(point, runnable);
        let highest = candidates.iter().max_by_key(|task| self.tasks.get(task).map(|it| it.priority));
        let task = *highest.unwrap_or(&runnable[0]);
        self.running = Some(task);
        self.contended = runnable.len() > 1;
        if !self.contended {
            return Choice { task, slice: LONG_SLICE };
        }
        let patience = self.tasks.get(&task).map_or(LONG_SLICE, |it| it.patience);
        let to_change = self.changes.last().map_or(LONG_SLICE, |tick| tick.saturating_sub(self.ticks));
        Choice { task, slice: patience.min(to_change).max(1) }
    }

    /// Any waiter alike, not the highest: whoever is woken may then find that a higher one has been faster.
    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        self.wakes.index(waiters.len())
    }
}
