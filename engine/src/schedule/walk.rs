//! A random walk over ticks.
//!
//! In the study of Thomson, Donaldson & Betts, "Concurrency Testing Using Controlled Schedulers: An Empirical Study"
//! (ACM TOPC 2016), a plain random scheduler did about as well as systematic search. How often the core should change
//! hands depends on the bug: some want two threads to interleave tick by tick, others want one to be left standing
//! while another does much. So each recording draws its own rate.

use super::LONG_SLICE;
use super::newborns::Newborns;
use super::random::Random;
use super::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// A recording hands the core over at one tick in 2, 4, 8, … up to 2 to this power.
const SLOWEST: u64 = 8;

/// Hands the core over at each tick with a fixed probability, at each wake with one half, to any of the other tasks
/// alike.
#[derive(Debug)]
pub(super) struct Walk {
    order: Random,
    wakes: Random,
    /// One tick in so many hands the core over.
    period: u64,
    newborns: Newborns,
    running: Option<TaskId>,
}

impl Walk {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let period = 2 << order.below(SLOWEST);
        let newborns = Newborns::new(order.chance(2, 3));
        Self { order, wakes, period, newborns, running: None }
    }

    /// Ticks up to the next hand-over: a geometric distribution, cut off at its far end.
    fn slice(&mut self) -> u64 {
        (1..LONG_SLICE).find(|_| self.order.chance(1, self.period)).unwrap_or(LONG_SLICE)
    }
}

impl Strategy for Walk {
    fn spawned(&mut self, task: TaskId) {
        self.newborns.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.newborns.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        let candidates = self.newborns.candidates(point, runnable);
        let at = point.current.and_then(|task| candidates.binary_search(&task).ok());
        let task = match at {
            // The walk has no memory: whoever goes on may as well draw a new slice.
            Some(at) if point.why == Why::Woken && self.order.chance(1, 2) => {
                self.order.pick(&candidates[at..=at])
            }
            // Any of the others.
            Some(at) if candidates.len() > 1 => {
                let other = self.order.index(candidates.len() - 1);
                candidates.get(other + usize::from(other >= at)).copied()
            }
            _ => self.order.pick(&candidates),
        };
        let task = task.unwrap_or(runnable[0]);
        self.running = Some(task);
        let slice = if runnable.len() == 1 { LONG_SLICE } else { self.slice() };
        Choice { task, slice }
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

    fn walk(seed: u64) -> Walk {
        Walk::new(&Plan { strategy: StrategyName::Walk, seed, expected_ticks: 0 })
    }

    fn point(current: TaskId, why: Why) -> Point {
        Point { current: Some(current), why, ran: 1, next: None }
    }

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    /// The first 200 choices of a seed.
    fn choices(seed: u64) -> Vec<Choice> {
        let mut walk = walk(seed);
        let mut current = TaskId(0);
        (0..200)
            .map(|_| {
                let choice = walk.decide(point(current, Why::SliceOver), &ALL);
                current = choice.task;
                choice
            })
            .collect()
    }

    #[test]
    fn equal_seeds_choose_equally_and_others_otherwise() {
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn slices_are_geometric_with_the_rate() {
        for power in 1..=SLOWEST {
            let mut walk = walk(1);
            walk.period = 1 << power;
            let slices: Vec<u64> = (0..4000).map(|_| walk.slice()).collect();
            assert!(slices.iter().all(|slice| *slice >= 1));
            let mean = slices.iter().sum::<u64>() as f64 / slices.len() as f64;
            let expected = walk.period as f64;
            assert!((mean / expected - 1.0).abs() < 0.07, "the mean of 1 in {expected} is {mean}");
        }
    }

    #[test]
    fn seeds_draw_all_rates() {
        let periods: BTreeSet<u64> = (0..100).map(|seed| walk(seed).period).collect();
        assert_eq!(periods, (1..=SLOWEST).map(|power| 1 << power).collect());
    }

    #[test]
    fn the_core_goes_to_each_of_the_others_alike() {
        let mut walk = walk(3);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[walk.decide(point(TaskId(1), Why::SliceOver), &ALL).task.0 as usize] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((1350..1650).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn who_wakes_another_goes_on_every_other_time() {
        let mut walk = walk(4);
        let stays = |_: &u32| walk.decide(point(TaskId(1), Why::Woken), &ALL).task == TaskId(1);
        let stays = (0..1000).filter(stays).count();
        assert!((430..570).contains(&stays), "{stays}");
    }

    #[test]
    fn a_task_alone_runs_long() {
        let choice = walk(5).decide(point(TaskId(1), Why::SliceOver), &ALL[1..2]);
        assert_eq!(choice, Choice { task: TaskId(1), slice: LONG_SLICE });
    }

    #[test]
    fn every_waiter_is_woken_now_and_then() {
        let mut walk = walk(6);
        let mut counts = [0; 3];
        for _ in 0..3000 {
            counts[walk.wake(&ALL)] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
