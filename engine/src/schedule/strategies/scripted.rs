//! Runs a [`Script`]: the switches it names take place where it names them.
//!
//! Where it names none, the rule is that of `systematic`: a task runs until it cannot go on or yields; the next one in
//! order of task number takes over. A switch to a task that cannot run then does not take place, nor does one at a
//! place that its task passes otherwise than expected.

use std::collections::{BTreeMap, VecDeque};

use rrtest_preload::turns::LONG_SLICE;

use crate::schedule::script::{Pick, Switch, When};
use crate::schedule::strategy::{Choice, Plan, Point, Strategy, Why};
use crate::task::TaskId;

/// Runs a script.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    first: Option<TaskId>,
    /// The switches ahead of each task.
    switches: BTreeMap<TaskId, VecDeque<Switch>>,
    /// The marks ahead of each task, by ticks.
    marks: BTreeMap<TaskId, VecDeque<u64>>,
    picks: Vec<Pick>,
    /// Ticks of each task so far, and its wakes.
    ticks: BTreeMap<TaskId, u64>,
    wakes: BTreeMap<TaskId, u64>,
    running: Option<TaskId>,
    /// Ticks of the running task since it got the core.
    in_a_row: u64,
}

impl Scripted {
    pub(super) fn new(plan: &Plan) -> Self {
        let script = &plan.script;
        let mut it = Self { first: script.first, picks: script.picks.clone(), ..Self::default() };
        for switch in &script.switches {
            it.switches.entry(switch.at.task).or_default().push_back(*switch);
        }
        let mut marks = script.marks.clone();
        marks.sort_unstable();
        for mark in marks {
            it.marks.entry(mark.task).or_default().push_back(mark.ticks);
        }
        it
    }

    /// Takes the switch that is due for a task that has made so many ticks.
    fn due(&mut self, task: TaskId, ticks: u64, when: When) -> Option<TaskId> {
        let ahead = self.switches.entry(task).or_default();
        while ahead.front().is_some_and(|switch| switch.at.ticks < ticks) {
            ahead.pop_front();
        }
        let found = ahead
            .iter()
            .take_while(|switch| switch.at.ticks == ticks)
            .position(|switch| switch.when == when)?;
        let switch = ahead.drain(..=found).next_back()?;
        Some(switch.to)
    }

    /// Returns the ticks until a task that gets the core is to stop.
    fn slice(&mut self, task: TaskId) -> u64 {
        let now = self.ticks.get(&task).copied().unwrap_or(0);
        let marks = self.marks.entry(task).or_default();
        while marks.front().is_some_and(|mark| *mark <= now) {
            marks.pop_front();
        }
        let mark = marks.front().copied();
        let switches = self.switches.entry(task).or_default().iter();
        let switch =
            switches.filter(|it| it.when == When::Before).map(|it| it.at.ticks).find(|ticks| *ticks > now);
        let next = switch.into_iter().chain(mark).min();
        next.map_or(LONG_SLICE, |next| (next - now).min(LONG_SLICE))
    }
}

impl Strategy for Scripted {
    fn spawned(&mut self, _task: TaskId) {}

    fn exited(&mut self, _task: TaskId) {}

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        let Point { current, why, ran, .. } = point;
        let can_run = |task: &TaskId| runnable.binary_search(task).is_ok();
        let told = match current {
            None => self.first.take(),
            Some(task) => {
                let ticks = self.ticks.entry(task).or_default();
                *ticks += ran;
                let ticks = *ticks;
                self.in_a_row += ran;
                self.due(task, ticks, When::of(why))
            }
        };
        // A task that runs for long waits for another in a loop.
        let gives_way = why == Why::Yielded || why == Why::SliceOver && self.in_a_row >= LONG_SLICE;
        let behind = current.map_or(0, |task| runnable.partition_point(|other| *other <= task));
        let in_order = *runnable.get(behind).unwrap_or(&runnable[0]);
        let stays = current.filter(can_run).filter(|_| !gives_way);
        let task = told.filter(can_run).or(stays).unwrap_or(in_order);
        if current != Some(task) || gives_way {
            self.in_a_row = 0;
        }
        self.running = Some(task);
        Choice::plain(task, self.slice(task))
    }

    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        let Some(by) = self.running else { return 0 };
        let wake = self.wakes.entry(by).or_default();
        *wake += 1;
        let wake = *wake;
        let pick = self.picks.iter().find(|pick| (pick.by, pick.wake) == (by, wake));
        pick.and_then(|pick| waiters.iter().position(|waiter| *waiter == pick.woken)).unwrap_or(0)
    }
}
