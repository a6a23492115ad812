//! One of many schedules that are tried one by one: the tasks run in order, except for a few deviations.
//!
//! After Musuvathi & Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs" (PLDI 2007):
//! most bugs show with one or two preemptions at the right places, and there are few schedules with so few. A task runs
//! until it cannot go on; the next one in order of task number takes over. A schedule is identified by its deviations
//! from that ([`Deviation`]). [`crate::schedule::explore`] enumerates them.
//!
//! Decisions are made where it can matter to other tasks who runs: before operations on objects that tasks share
//! ([`rrtest_preload::objects`]), and when a task blocks, ends, yields or wakes another. As in Emmi, Qadeer &
//! Rakamarić, "Delay-Bounded Scheduling" (POPL 2011), it also counts as a deviation when a task cannot go on and
//! another than the next in order takes over.
//!
//! A task that yields (sched_yield(2)) does so in some schedules. In others ([`Plan::at_once`]) the call returns at
//! once, as with a core for each thread, so that getting through a loop that yields in each round takes no preemptions.
//! This happens up to [`AT_ONCE`] times in a row; then the task waits for another.

use std::collections::{BTreeMap, VecDeque};

use rrtest_preload::turns::LONG_SLICE;

use super::per_task::PerTask;
use crate::schedule::strategy::{
    AccessWatch, Choice, Decided, Deviation, Operation, Plan, Point, Strategy, Why,
};
use crate::task::TaskId;

/// Stops before every operation on a shared object.
const EVERYWHERE: AccessWatch =
    AccessWatch { bar: u64::MAX, random: 1, pending: 0, alone: 0, budget: AccessWatch::ALL };

/// How often in a row sched_yield(2) returns at once, in schedules where it does.
pub(in crate::schedule) const AT_ONCE: u32 = 40;

/// Runs the tasks in order, except for some deviations.
#[derive(Debug)]
pub(super) struct Systematic {
    deviations: VecDeque<Deviation>,
    decided: Vec<Decided>,
    /// The address of the object that each decision was about, if it was about one.
    about: Vec<Option<u64>>,
    /// Which tasks have touched an object, a bit each, and whether one has written it.
    objects: BTreeMap<u64, (u64, bool)>,
    digest: u64,
    /// Whether sched_yield(2) returns at once, and how often in a row it has for each task.
    at_once: bool,
    rounds: PerTask<u32>,
}

impl Systematic {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            deviations: plan.deviations.iter().copied().collect(),
            decided: Vec::new(),
            about: Vec::new(),
            objects: BTreeMap::new(),
            digest: 0,
            at_once: plan.at_once,
            rounds: PerTask::default(),
        }
    }

    /// Whether a call to sched_yield(2) by this task returns at once.
    fn stays(&mut self, task: TaskId) -> bool {
        if !self.at_once {
            return false;
        }
        let rounds = self.rounds.get(task).copied().unwrap_or(0);
        let stays = rounds < AT_ONCE;
        self.rounds.insert(task, if stays { rounds + 1 } else { 0 });
        stays
    }

    /// Notes the object, if any, that `current` is about to access. Returns its address.
    fn note(&mut self, current: Option<TaskId>, next: Option<Operation>) -> Option<u64> {
        let (Some(task), Some(Operation::Memory { address, writes })) = (current, next) else { return None };
        let (tasks, written) = self.objects.entry(address).or_default();
        *tasks |= 1 << (task.0 % 64);
        *written |= writes;
        Some(address)
    }

    fn mix(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Strategy for Systematic {
    fn spawned(&mut self, _task: TaskId) {}

    fn exited(&mut self, _task: TaskId) {}

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        let Point { current, why, next, .. } = point;
        let address = self.note(current, next);
        let here = current.filter(|task| runnable.binary_search(task).is_ok());
        let gave_way = next == Some(Operation::Syscall(libc::SYS_sched_yield as u64)) && why == Why::Yielded;
        if let Some(task) = here.filter(|_| gave_way)
            && self.stays(task)
        {
            return Choice { task, slice: LONG_SLICE, access_watch: Some(EVERYWHERE) };
        }
        // A task that runs for long waits for another in a loop.
        let gives_way = matches!(why, Why::Yielded | Why::SliceOver);
        let behind = current.map_or(0, |task| runnable.partition_point(|other| *other <= task));
        let in_order = runnable.get(behind).unwrap_or(&runnable[0]);
        let mut task = here.filter(|_| !gives_way).unwrap_or(*in_order);
        if runnable.len() > 1 {
            for value in runnable.iter().chain(current.as_ref()).map(|task| task.0.into()).chain(address) {
                self.mix(value);
            }
            let position = self.decided.len() as u32;
            if self.deviations.front().is_some_and(|next| next.position <= position)
                && let Some(deviation) = self.deviations.pop_front()
                && runnable.binary_search(&deviation.task).is_ok()
            {
                task = deviation.task;
            }
            let other = |other: &TaskId| *other != task && !(gives_way && Some(*other) == current);
            let alternatives = runnable.iter().copied().filter(other).collect();
            self.decided.push(Decided { chosen: task, alternatives, digest: self.digest, gave_way });
            self.about.push(address.filter(|_| why == Why::Met));
        }
        Choice { task, slice: LONG_SLICE, access_watch: Some(EVERYWHERE) }
    }

    fn wake(&mut self, _waiters: &[TaskId]) -> usize {
        0
    }

    fn decided(&mut self) -> Vec<Decided> {
        let mut decided = std::mem::take(&mut self.decided);
        for (decision, about) in decided.iter_mut().zip(&self.about) {
            let shared = |address: &u64| {
                self.objects.get(address).is_none_or(|(tasks, written)| *written && tasks.count_ones() > 1)
            };
            // A task that runs before an operation on another task's own object might as well run before the next
            // operation.
            if !about.as_ref().is_none_or(shared) {
                decision.alternatives.clear();
            }
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::StrategyName;

    const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

    fn systematic(deviations: &[(u32, u32)]) -> Systematic {
        let deviations =
            deviations.iter().map(|(position, task)| Deviation { position: *position, task: TaskId(*task) });
        let plan = Plan { deviations: deviations.collect(), ..Plan::new(StrategyName::Systematic, 0) };
        Systematic::new(&plan)
    }

    fn point(current: u32, why: Why, address: u64) -> Point {
        let next = Some(Operation::Memory { address, writes: true });
        Point { current: Some(TaskId(current)), why, ran: 1, next, found: Default::default() }
    }

    #[test]
    fn tasks_run_in_order_until_they_cannot_go_on() {
        let mut it = systematic(&[]);
        assert_eq!(it.decide(point(1, Why::Met, 8), &ALL).task, ALL[1]);
        assert_eq!(it.decide(point(1, Why::Woken, 8), &ALL).task, ALL[1]);
        assert_eq!(it.decide(point(1, Why::Yielded, 8), &ALL).task, ALL[2]);
        assert_eq!(it.decide(point(2, Why::Blocked, 8), &ALL[..2]).task, ALL[0]);
    }

    #[test]
    fn it_deviates_where_it_is_told_to() {
        let mut it = systematic(&[(1, 2), (2, 1)]);
        let tasks = [(0, 8), (0, 16), (2, 16)]
            .map(|(current, address)| it.decide(point(current, Why::Met, address), &ALL).task);
        assert_eq!(tasks, [ALL[0], ALL[2], ALL[1]]);
        let decided = it.decided();
        assert_eq!(decided[0].alternatives, [], "nobody else has touched it");
        assert_eq!(decided[1].alternatives, [ALL[0], ALL[1]]);
        assert_eq!(decided[2].chosen, ALL[1]);
    }

    #[test]
    fn who_gives_way_goes_on_at_once_where_that_is_the_schedule() {
        let plan = Plan { at_once: true, ..Plan::new(StrategyName::Systematic, 0) };
        let mut it = Systematic::new(&plan);
        let next = Some(Operation::Syscall(libc::SYS_sched_yield as u64));
        let gives_way = Point { next, ..point(0, Why::Yielded, 0) };
        for _ in 0..2 {
            for _ in 0..AT_ONCE {
                assert_eq!(it.decide(gives_way, &ALL).task, ALL[0]);
            }
            assert_eq!(it.decide(gives_way, &ALL).task, ALL[1], "it waits for another");
        }
        assert_eq!(it.decided.iter().filter(|decided| decided.gave_way).count(), 2);
        // A task that is seen to wait in a loop does not go on.
        assert_eq!(it.decide(point(0, Why::Yielded, 0), &ALL).task, ALL[1]);
    }

    #[test]
    fn equal_prefixes_have_equal_digests() {
        let run = |addresses: &[u64]| {
            let mut it = systematic(&[]);
            for address in addresses {
                it.decide(point(0, Why::Met, *address), &ALL);
            }
            it.decided().into_iter().map(|decided| decided.digest).collect::<Vec<_>>()
        };
        assert_eq!(run(&[8, 16])[0], run(&[8, 24])[0]);
        assert_ne!(run(&[8, 16])[1], run(&[8, 24])[1]);
    }
}
