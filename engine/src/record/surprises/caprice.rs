//! Surprises in time: a machine that is busy with others for a while.
//!
//! - [`Surprise::Early`]: nobody runs until a task's time limit, or its sleep, is over.
//! - [`Surprise::Late`]: a task gets the core only some time after its wait is over.
//! - [`Surprise::Stall`]: a task does not get the core while others wait for times to come again and again.
//! - [`Surprise::Slow`]: nobody runs for a while just before a task reads a clock.
//!
//! What they have in common is that time passes (`Recorder::pass`). In virtual time it leaps, together with all clocks and
//! timers of the program ([`crate::record::wait`]); in real time the recorder waits. Nobody runs meanwhile, and whatever
//! falls due does so: that is what a machine does that has given its cores to others. No wait ends before its time as the
//! program's clocks show it.
//!
//! How much there may be of it. People guard their tests against hanging with limits of many seconds, and are right to rely on
//! these: an attempt loses [`FAR`] in all at most. In real time that would keep the other attempts waiting, so nearly all
//! lose [`MOST`] at most, by waits of up to [`NEAR`], unless the test itself usually waits for longer
//! ([`Plan::usual_wait`](crate::schedule::Plan::usual_wait)): then for as long as that. In virtual time the sleep that a test usually
//! sits out may come early however long it is, if no time limit of another task is passed over by that.

use std::borrow::Cow;

use super::Surprises;
use super::strikes::Note;
use crate::clock::Clock;
use crate::record::in_process::call_sites::CallSites;
use crate::record::options::{Options, Time};
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// In ns: for so long do machines under load keep programs waiting now and then; who waits for longer may rely on it.
pub(in crate::record) const FAR: u64 = 2_500_000_000;

/// In ns: for how long something may be kept waiting in nearly all attempts in real time.
pub(in crate::record) const NEAR: u64 = 100_000_000;

/// In ns: how long nearly all attempts may be kept waiting in all, in real time.
const MOST: u64 = 200_000_000;

/// In ns: by how much at least what is late is late.
pub(in crate::record) const MOMENT: u64 = 10_000;

/// A stall lasts for fewer waits of others.
const WAITS: u64 = 65;

/// How time plays with the program.
#[derive(Debug, Default)]
pub(in crate::record) struct Caprice {
    pub(in crate::record) early: Option<Early>,
    pub(in crate::record) stall: Option<Stall>,
    /// For how long it has kept the attempt waiting, in ns.
    pub(in crate::record) spent: u64,
}

/// A wait that is to be over early.
#[derive(Debug)]
pub(in crate::record) struct Early {
    pub(in crate::record) task: TaskId,
    /// How many decisions are left until then.
    pub(in crate::record) left: u64,
    pub(in crate::record) note: Note,
}

/// A task that does not get the core.
#[derive(Debug)]
pub(in crate::record) struct Stall {
    pub(in crate::record) task: TaskId,
    /// How many waits of others are left.
    pub(in crate::record) left: u64,
    /// How many there have been, and how long they were.
    pub(in crate::record) times: u64,
    pub(in crate::record) lasted: u64,
    /// Decisions so far, and the ticks of all tasks at the start.
    pub(in crate::record) decisions: u64,
    pub(in crate::record) ticks: u64,
}

impl Caprice {
    /// Those of the runnable that can have the core.
    pub(in crate::record) fn awake<'a>(&self, runnable: &'a [TaskId]) -> Cow<'a, [TaskId]> {
        match &self.stall {
            Some(stall) if runnable.len() > 1 && runnable.binary_search(&stall.task).is_ok() => {
                runnable.iter().copied().filter(|task| *task != stall.task).collect()
            }
            _ => Cow::Borrowed(runnable),
        }
    }
}

impl Surprises {
    /// For how long something may take, in ns.
    pub(in crate::record) fn reach(&self, options: &Options<'_>) -> u64 {
        match options.time {
            Time::Virtual => FAR,
            Time::Real => (NEAR << self.dice.patience()).max(options.plan.usual_wait).min(FAR),
        }
    }

    /// Whether the attempt may be kept waiting for so long; then it counts.
    pub(in crate::record) fn may_keep_waiting(&mut self, options: &Options<'_>, nanoseconds: u64) -> bool {
        let most = match options.time {
            Time::Virtual => FAR,
            Time::Real => self.reach(options).max(MOST),
        };
        let spent = self.caprice.spent.saturating_add(nanoseconds);
        let may = spent <= most;
        if may {
            self.caprice.spent = spent;
        }
        may
    }

    /// A task waits; another one does not get the core from now on.
    pub(in crate::record) fn begin_stall(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        clock: &Clock,
        id: TaskId,
    ) {
        let harness = |task: TaskId| options.watchdog_main && task == TaskId(0);
        let others = tasks.living().map(|task| task.id);
        let others: Vec<_> = others.filter(|other| *other != id && !harness(*other)).collect();
        let at = self.dice.below(Surprise::Stall, others.len() as u64);
        let left = self.dice.amount(Surprise::Stall, 1, WAITS);
        let Some(task) = others.get(at as usize).copied() else { return };
        let ticks = clock.total();
        self.caprice.stall = Some(Stall { task, left, times: 0, lasted: 0, decisions: 0, ticks });
    }

    /// A task can have the core again.
    pub(in crate::record) fn end_stall(&mut self, tasks: &Tasks, call_sites: &CallSites) {
        let Some(Stall { task, times, lasted, .. }) = self.caprice.stall.take() else { return };
        if times > 0 && self.notes_strikes() {
            let place = call_sites.place_of(tasks, task);
            self.note_strike(Note {
                more: lasted,
                times,
                place,
                ..Note::new(Surprise::Stall, task, Doing::Runs)
            });
        }
    }

    /// Whether the program has waited for longer than it would have by itself.
    pub(in crate::record) fn has_lost_time(&self) -> bool {
        self.caprice.spent > 0
    }
}
