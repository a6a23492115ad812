//! Enumerates the schedules with few deviations: see `strategies::systematic`.
//!
//! The tree of schedules is explored level by level: the schedule without a deviation, those with one, those with two.
//! The children of a schedule have one more deviation, after its last. A test need not behave alike up to the point
//! where two schedules diverge: time and the outside world may differ. Then the intended schedule does not come about,
//! and neither do its children.
//!
//! If a task yields (sched_yield(2)) there is a second tree: the schedules in which the call returns at once.

use std::collections::VecDeque;

use super::portfolio::MOST_DEVIATIONS;
use super::strategies::AT_ONCE;
use super::strategy::{Decided, Deviation};
use crate::task::TaskId;

/// Schedules that may be pending at a time.
const MOST_PENDING: usize = 1 << 20;

/// A schedule to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its deviations.
    pub deviations: Vec<Deviation>,
    /// Whether sched_yield(2) returns at once.
    pub at_once: bool,
    /// The expected digest of the decision at which the last deviation is.
    digest: u64,
}

impl Schedule {
    /// Creates the schedule without a deviation.
    fn first(at_once: bool) -> Self {
        Self { deviations: Vec::new(), at_once, digest: 0 }
    }
}

/// Explores the schedules of a test.
#[derive(Debug)]
pub struct Explorer {
    bound: usize,
    pending: VecDeque<Schedule>,
    under_way: u64,
    explored: u64,
    strayed: u64,
    /// Whether some schedules have been left out.
    cut: bool,
    /// Whether a task has yielded, so that the schedules in which the call returns at once are explored too.
    gave_way: bool,
    /// Whether a task has yielded in one of those all the same, because it did so again and again.
    gave_up: bool,
}

impl Explorer {
    /// Explores the schedules with at most `bound` deviations, but no more than [`MOST_DEVIATIONS`].
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound: bound.min(MOST_DEVIATIONS),
            pending: VecDeque::from([Schedule::first(false)]),
            under_way: 0,
            explored: 0,
            strayed: 0,
            cut: false,
            gave_way: false,
            gave_up: false,
        }
    }

    /// Takes the next schedule to try. `None` if there is none at the moment: those under way may lead to more.
    pub fn take(&mut self) -> Option<Schedule> {
        let next = self.pending.pop_front()?;
        self.under_way += 1;
        Some(next)
    }

    /// Takes back a schedule of which nothing has been learned: it is tried again.
    pub fn give_back(&mut self, schedule: Schedule) {
        self.under_way = self.under_way.saturating_sub(1);
        self.pending.push_front(schedule);
    }

    /// Whether there is a schedule to try now.
    #[must_use]
    pub fn has_next(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Notes that a schedule has been tried, with these decisions; none if the attempt did not complete.
    pub fn ended(&mut self, schedule: &Schedule, decided: &[Decided]) {
        self.under_way = self.under_way.saturating_sub(1);
        let last = schedule.deviations.last();
        let as_expected = match last {
            None => !decided.is_empty() || schedule.at_once || self.explored == 0,
            Some(last) => decided
                .get(last.position as usize)
                .is_some_and(|it| it.digest == schedule.digest && it.chosen == last.task),
        };
        if !as_expected {
            self.strayed += 1;
            return;
        }
        self.explored += 1;
        if decided.iter().any(|decision| decision.gave_way) {
            self.gave_up |= schedule.at_once;
            if !std::mem::replace(&mut self.gave_way, true) {
                self.pending.push_back(Schedule::first(true));
            }
        }
        if schedule.deviations.len() >= self.bound {
            return;
        }
        let behind = last.map_or(0, |last| last.position as usize + 1);
        for (position, decision) in decided.iter().enumerate().skip(behind) {
            for task in &decision.alternatives {
                self.add(schedule, position, *task, decision.digest);
            }
        }
    }

    fn add(&mut self, parent: &Schedule, position: usize, task: TaskId, digest: u64) {
        let deviation = u32::try_from(position).ok().map(|position| Deviation { position, task });
        match deviation.filter(|it| it.fits() && self.pending.len() < MOST_PENDING) {
            Some(deviation) => {
                let deviations = parent.deviations.iter().copied().chain([deviation]).collect();
                self.pending.push_back(Schedule { deviations, digest, ..*parent });
            }
            None => self.cut = true,
        }
    }

    /// Whether there is nothing left to try.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.pending.is_empty() && self.under_way == 0
    }

    /// Returns how many schedules have come about as intended.
    #[must_use]
    pub fn explored(&self) -> u64 {
        self.explored
    }

    /// Returns how many did not come about, because the test behaved differently than before.
    #[must_use]
    pub fn strayed(&self) -> u64 {
        self.strayed
    }

    /// Returns how often in a row sched_yield(2) returned at once at most, if a task has called it more often.
    #[must_use]
    pub fn at_once(&self) -> Option<u32> {
        self.gave_up.then_some(AT_ONCE)
    }

    /// Whether all schedules have been tried.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_over() && self.strayed == 0 && !self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that decides `decisions` times between two tasks, whatever was decided before.
    fn run(schedule: &Schedule, decisions: u32, noise: u64) -> Vec<Decided> {
        let decide = |position| {
            let deviates = schedule.deviations.iter().any(|it| it.position == position);
            let (chosen, other) = if deviates { (1, 0) } else { (0, 1) };
            Decided {
                chosen: TaskId(chosen),
                alternatives: vec![TaskId(other)],
                digest: noise + u64::from(position),
                gave_way: false,
            }
        };
        (0..decisions).map(decide).collect()
    }

    #[test]
    fn all_schedules_are_tried_once_those_with_fewer_deviations_first() {
        for (bound, all) in [(0, 1), (1, 11), (2, 56), (3, 176)] {
            let mut explorer = Explorer::new(bound);
            let mut seen = Vec::new();
            while let Some(schedule) = explorer.take() {
                explorer.ended(&schedule, &run(&schedule, 10, 0));
                seen.push(schedule.deviations);
            }
            assert!(explorer.is_complete());
            assert_eq!((seen.len(), explorer.explored()), (all, all as u64));
            assert!(seen.is_sorted_by_key(Vec::len));
            seen.sort_by_key(|it| it.iter().map(|it| it.position).collect::<Vec<_>>());
            seen.dedup();
            assert_eq!(seen.len(), all);
        }
    }

    #[test]
    fn where_a_task_gives_way_the_schedules_are_gone_through_in_which_it_does_not_either() {
        // The first decision is about a task that yields; in the second tree it yields after all, or does not.
        for gives_up in [false, true] {
            let mut explorer = Explorer::new(1);
            let mut seen = [0, 0];
            while let Some(schedule) = explorer.take() {
                let mut decided = run(&schedule, 3, 0);
                decided[0].gave_way = !schedule.at_once || gives_up;
                explorer.ended(&schedule, &decided);
                seen[usize::from(schedule.at_once)] += 1;
            }
            assert_eq!(seen, [4, 4]);
            assert!(explorer.is_complete());
            assert_eq!(explorer.at_once(), gives_up.then_some(AT_ONCE));
        }
    }

    #[test]
    fn it_is_not_over_while_one_is_under_way() {
        let mut explorer = Explorer::new(1);
        let first = explorer.take().unwrap();
        assert!(explorer.take().is_none() && !explorer.is_over());
        explorer.ended(&first, &run(&first, 1, 0));
        let second = explorer.take().unwrap();
        explorer.ended(&second, &run(&second, 1, 0));
        assert!(explorer.is_complete());
    }

    #[test]
    fn one_that_was_given_back_is_still_to_be_tried() {
        let mut explorer = Explorer::new(1);
        let first = explorer.take().unwrap();
        explorer.give_back(first.clone());
        assert!(!explorer.is_over() && explorer.explored() == 0);
        assert_eq!(explorer.take(), Some(first));
    }

    #[test]
    fn a_test_that_does_something_else_each_time_is_noticed_and_comes_to_an_end() {
        let mut explorer = Explorer::new(2);
        let mut noise = 0;
        while let Some(schedule) = explorer.take() {
            noise += 1;
            explorer.ended(&schedule, &run(&schedule, 10, noise));
        }
        assert_eq!((explorer.explored(), explorer.strayed()), (1, 10));
        assert!(explorer.is_over() && !explorer.is_complete());
    }

    #[test]
    fn what_no_seed_can_say_is_left_out() {
        let mut explorer = Explorer::new(1);
        let first = explorer.take().unwrap();
        let decided =
            Decided { chosen: TaskId(0), alternatives: vec![TaskId(1 << 20)], digest: 0, gave_way: false };
        explorer.ended(&first, &[decided]);
        assert!(explorer.is_over() && !explorer.is_complete());
    }
}
