//! A random walk over ticks.
//!
//! In the study of Thomson, Donaldson & Betts, "Concurrency Testing Using Controlled Schedulers: An Empirical Study"
//! (ACM TOPC 2016), a plain random scheduler did about as well as systematic search. How often the core should change
//! hands depends on the bug: some need two threads to interleave tick by tick, others need one to stand still while
//! another does much. So each recording draws its own rate. If a test turns out longer than expected, the rate drops to
//! that of a test of this length: however long it is, it costs little more.

use rrtest_preload::turns::LONG_SLICE;

use super::held_back::HeldBack;
use crate::schedule::random::Random;
use crate::schedule::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// A recording of a short test hands the core over at one tick in 2, 4, 8, … up to 2 to this power; a recording of a
/// longer test does so equally often in total.
const SLOWEST: u64 = 8;

/// Base-2 logarithm of the ticks of a short test.
const LOG_SHORT: u64 = 12;

/// Base-2 logarithms of the ticks of a burst, and of the number of bursts in a recording.
const LOG_BURST: std::ops::Range<u64> = 2..9;
const LOG_BURSTS: u64 = 7;

/// In a burst one tick in 2 to this power or less hands the core over.
const SLOWEST_IN_BURST: u64 = 4;

/// Hands the core over at each tick with a fixed probability, and at each wake with probability one half, to any other
/// task with equal probability. In one of three recordings it does so only in bursts.
#[derive(Debug)]
pub(super) struct Walk {
    order: Random,
    wakes: Random,
    /// One tick in this many hands the core over.
    period: u64,
    bursts: Option<Bursts>,
    /// Ticks until the next hand-over.
    left: u64,
    /// Ticks of all tasks so far, and the length to which the rate is adapted.
    ticks: u64,
    length: u64,
    held_back: HeldBack,
    running: Option<TaskId>,
}

/// When bursts begin and end.
#[derive(Debug)]
struct Bursts {
    /// Average ticks of a burst, and of the time between two bursts.
    lengths: [u64; 2],
    /// Whether it is between two bursts.
    between: bool,
    /// What is left of the burst, or of the time between two.
    left: u64,
}

impl Walk {
    pub(super) fn new(plan: &Plan) -> Self {
        let [mut order, wakes] = Random::streams(plan.seed);
        let ticks = plan.expected_ticks.clamp(1, 1 << 40).ilog2().into();
        let bursts = order.chance(1, 3).then(|| {
            let all = if plan.expected_ticks == 0 { LOG_SHORT } else { ticks };
            let burst = LOG_BURST.start + order.below(LOG_BURST.end - LOG_BURST.start);
            let between = all.saturating_sub(order.below(LOG_BURSTS));
            Bursts { lengths: [1 << burst, 1 << between], between: true, left: order.below(2 << between) }
        });
        let period = match bursts {
            Some(_) => 2 << order.below(SLOWEST_IN_BURST),
            None => 2 << (order.below(SLOWEST) + ticks.saturating_sub(LOG_SHORT)),
        };
        let held_back = HeldBack::new(order.chance(2, 3));
        let length = 1 << ticks.max(LOG_SHORT);
        Self { order, wakes, period, bursts, left: 0, ticks: 0, length, held_back, running: None }
    }

    /// Returns the ticks up to the next hand-over: a geometric distribution, approximated for low rates.
    fn turn(&mut self) -> u64 {
        let turn = match 1 << SLOWEST {
            exact if self.period <= exact => {
                (1..LONG_SLICE).find(|_| self.order.chance(1, self.period)).unwrap_or(LONG_SLICE)
            }
            _ => 1 + self.order.below(2 * self.period),
        };
        match &mut self.bursts {
            Some(Bursts { between: true, left, .. }) => *left,
            Some(Bursts { left, .. }) => turn.min(*left),
            None => turn,
        }
        .max(1)
    }

    /// Accounts for ticks that have passed.
    fn account(&mut self, ran: u64) {
        self.left = self.left.saturating_sub(ran);
        self.ticks = self.ticks.saturating_add(ran);
        while self.ticks / 2 >= self.length {
            self.length *= 2;
            self.period = self.period.saturating_mul(2);
            if let Some(Bursts { lengths: [_, between], .. }) = &mut self.bursts {
                *between = between.saturating_mul(2);
            }
        }
        let Self { bursts: Some(bursts), order, .. } = self else { return };
        bursts.left = bursts.left.saturating_sub(ran);
        if bursts.left == 0 {
            bursts.between = !bursts.between;
            bursts.left = 1 + order.below(2 * bursts.lengths[usize::from(bursts.between)]);
        }
    }
}

impl Strategy for Walk {
    fn spawned(&mut self, task: TaskId) {
        self.held_back.spawned(task, self.running);
    }

    fn exited(&mut self, task: TaskId) {
        self.held_back.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        self.account(point.ran);
        let candidates = self.held_back.candidates(point, runnable);
        let at = point.current.and_then(|task| candidates.binary_search(&task).ok());
        let task = match at {
            // The walk has no memory: a task that goes on may as well draw a new slice.
            Some(at) if point.why == Why::Woken && self.order.chance(1, 2) => {
                self.order.pick(&candidates[at..=at])
            }
            // A long turn is not over.
            Some(at) if point.why == Why::SliceOver && self.left > 0 => self.order.pick(&candidates[at..=at]),
            // Any of the others.
            Some(at) if candidates.len() > 1 => {
                let other = self.order.index(candidates.len() - 1);
                candidates.get(other + usize::from(other >= at)).copied()
            }
            _ => self.order.pick(&candidates),
        };
        let task = task.unwrap_or(runnable[0]);
        self.running = Some(task);
        if runnable.len() == 1 {
            self.left = 0;
            return Choice::plain(task, LONG_SLICE);
        }
        if self.left == 0 || point.why != Why::SliceOver {
            self.left = self.turn();
        }
        Choice::plain(task, self.left.min(LONG_SLICE))
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

    /// A walk without bursts.
    fn walk(seed: u64) -> Walk {
        let new = |seed| Walk::new(&Plan::new(StrategyName::Walk, seed));
        (seed * 100..).map(new).find(|walk| walk.bursts.is_none()).unwrap()
    }

    fn point(current: TaskId, why: Why) -> Point {
        Point { current: Some(current), why, ran: 1, next: None, found: Default::default() }
    }

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    #[test]
    fn a_long_test_is_not_preempted_much_more_often_than_a_short_one() {
        for seed in 0..30 {
            let mut walk = Walk::new(&Plan::new(StrategyName::Walk, seed));
            let (mut point, mut ticks, mut decisions) = (point(TaskId(0), Why::SliceOver), 0_u64, [0_u64; 2]);
            while ticks < 1 << 24 {
                let choice = walk.decide(point, &ALL);
                decisions[usize::from(ticks > 1 << LOG_SHORT)] += 1;
                ticks += choice.slice;
                point = Point { current: Some(choice.task), ran: choice.slice, ..point };
            }
            // Four thousand times as many ticks, but a bounded number of decisions in each of twelve doublings, except
            // for long turns.
            let [short, long] = decisions;
            assert!(long <= 40 * short.max(50) + (1 << 24) / LONG_SLICE, "{seed}: {short}, {long}");
        }
    }

    /// Returns the first 200 choices of a seed.
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
            let slices: Vec<u64> = (0..4000).map(|_| walk.turn()).collect();
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
    fn a_long_test_has_no_more_hand_overs_than_a_short_one() {
        for seed in 0..200 {
            let plan = Plan { expected_ticks: 1 << 22, ..Plan::new(StrategyName::Walk, seed) };
            let mut walk = Walk::new(&plan);
            let (mut current, mut ticks, mut changes) = (ALL[0], 0, 0);
            let mut ran = 0;
            while ticks < plan.expected_ticks {
                let choice = walk.decide(Point { ran, ..point(current, Why::SliceOver) }, &ALL);
                changes += u64::from(choice.task != current);
                (current, ran) = (choice.task, choice.slice);
                ticks += ran;
            }
            assert!((1..20_000).contains(&changes), "{walk:?}: {changes}");
        }
    }

    #[test]
    fn the_core_goes_to_each_of_the_others_alike() {
        let mut counts = [0; 3];
        for seed in 0..3000 {
            let choice = walk(seed).decide(point(TaskId(1), Why::SliceOver), &ALL);
            counts[choice.task.0 as usize] += 1;
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
        assert_eq!(choice, Choice::plain(TaskId(1), LONG_SLICE));
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
