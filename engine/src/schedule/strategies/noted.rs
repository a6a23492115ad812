//! Notes what a strategy decides, so that its schedule can be run again as a script
//! ([`Script`](crate::schedule::script::Script)).

use rrtest_preload::layout::Turns;

use super::per_task::PerTask;
use crate::schedule::script::{Noted, Pick, Spot, Switch, Turn, When};
use crate::schedule::strategy::{Choice, Decided, Plan, Point, Strategy};
use crate::task::TaskId;

/// Decisions that are noted at most: of a longer attempt there is no script.
const MOST: usize = 1 << 16;

/// A strategy whose decisions are noted.
pub(super) struct Notes {
    strategy: Box<dyn Strategy>,
    /// Ticks of each task so far, and its wakes.
    ticks: PerTask<u64>,
    wakes: PerTask<u64>,
    running: Option<TaskId>,
    noted: Noted,
    /// Places that are marked, and the one at which the task stands that ran last.
    marks: Vec<Spot>,
    mark: Option<Spot>,
}

impl Notes {
    pub(super) fn new(strategy: Box<dyn Strategy>, plan: &Plan) -> Self {
        Self {
            strategy,
            ticks: PerTask::default(),
            wakes: PerTask::default(),
            running: None,
            noted: Noted::default(),
            marks: plan.script.marks.clone(),
            mark: None,
        }
    }

    /// Counts the ticks of the task that ran last. Returns where it is.
    fn advance(&mut self, point: &Point) -> Option<Spot> {
        let task = point.current?;
        let ticks = add(&mut self.ticks, task, point.ran);
        Some(Spot { task, ticks })
    }

    fn note(&mut self, point: &Point, at: Option<Spot>, runnable: &[TaskId], to: TaskId) {
        let here = at.filter(|at| runnable.binary_search(&at.task).is_ok());
        let stays = here.is_some_and(|at| at.task == to);
        let when = When::of(point.why);
        let Some(at) = at else {
            self.noted.script.first = (runnable.first() != Some(&to)).then_some(to);
            self.turn(to);
            return;
        };
        if let Some(turn) = self.noted.turns.last_mut().filter(|turn| turn.task == at.task) {
            turn.to = at.ticks;
        }
        if !stays {
            self.turn(to);
        }
        // Who is the only one that can run needs no switch. Who yields is expected to let another one run.
        if runnable.len() > 1 && (!stays || when == When::Yields) {
            match self.noted.script.switches.len() < MOST {
                true => self.noted.script.switches.push(Switch { at, when, to }),
                false => self.noted.cut = true,
            }
        }
    }

    fn turn(&mut self, task: TaskId) {
        let from = self.ticks.get(task).copied().unwrap_or(0);
        match self.noted.turns.len() < MOST {
            true => self.noted.turns.push(Turn { task, from, to: from }),
            false => self.noted.cut = true,
        }
    }
}

fn add(counts: &mut PerTask<u64>, task: TaskId, more: u64) -> u64 {
    let count = counts.get(task).copied().unwrap_or(0).saturating_add(more);
    counts.insert(task, count);
    count
}

impl Strategy for Notes {
    fn spawned(&mut self, task: TaskId) {
        self.strategy.spawned(task);
    }

    fn exited(&mut self, task: TaskId) {
        self.strategy.exited(task);
    }

    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice {
        let at = self.advance(&point);
        self.mark = at.filter(|at| point.ran > 0 && self.marks.contains(at));
        let choice = self.strategy.decide(point, runnable);
        self.note(&point, at, runnable, choice.task);
        self.running = Some(choice.task);
        choice
    }

    fn wake(&mut self, waiters: &[TaskId]) -> usize {
        let index = self.strategy.wake(waiters);
        if let Some(by) = self.running {
            let wake = add(&mut self.wakes, by, 1);
            if let Some(woken) = waiters.get(index).copied().filter(|_| index > 0) {
                match self.noted.script.picks.len() < MOST {
                    true => self.noted.script.picks.push(Pick { by, wake, woken }),
                    false => self.noted.cut = true,
                }
            }
        }
        index
    }

    fn be_fair(&mut self) {
        self.strategy.be_fair();
    }

    fn decided(&mut self) -> Vec<Decided> {
        self.strategy.decided()
    }

    fn turns(&self) -> Option<Turns> {
        self.strategy.turns()
    }

    fn last_ran(&self, task: TaskId) -> u64 {
        self.strategy.last_ran(task)
    }

    fn noted(&mut self) -> Noted {
        std::mem::take(&mut self.noted)
    }

    fn mark(&self) -> Option<Spot> {
        self.mark
    }
}
