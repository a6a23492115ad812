//! What a strategy is asked and what it answers.

use std::fmt;
use std::str::FromStr;

use rrtest_preload::layout::{Turns, Watch};
use rrtest_preload::objects;
use serde::{Deserialize, Serialize};

use crate::task::TaskId;

/// How the schedule of one recording is made. Equal plans give equal decisions to a program that behaves equally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which strategy.
    pub strategy: StrategyName,
    /// The seed of all its random choices.
    pub seed: u64,
    /// How many ticks the program is expected to run, from earlier recordings, roughly; 0 if unknown.
    pub expected_ticks: u64,
    /// How many operations on shared objects each task is expected to do, by task number, as far as known.
    pub events: Vec<u64>,
    /// Where a systematic schedule deviates from the first one, in order.
    pub deviations: Vec<Deviation>,
    /// For how long all tasks are expected to wait for times to come, in ns, from earlier recordings, roughly; 0 if unknown.
    pub usual_wait: u64,
    /// Whether sched_yield(2) returns at once in a systematic schedule, as with a core for each thread.
    pub at_once: bool,
}

/// At a decision, another task than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// Which decision, of those with several runnable tasks, from 0.
    pub position: u32,
    /// Which task.
    pub task: TaskId,
}

/// A decision that a systematic schedule took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The task that ran.
    pub chosen: TaskId,
    /// The others that could have, where that could make a difference.
    pub alternatives: Vec<TaskId>,
    /// What tells this decision, and all before it, from others.
    pub digest: u64,
    /// Whether the task that had the core gave way (sched_yield(2)).
    pub gave_way: bool,
}

impl Plan {
    /// One that expects nothing.
    #[must_use]
    pub fn new(strategy: StrategyName, seed: u64) -> Self {
        Self {
            strategy,
            seed,
            expected_ticks: 0,
            events: Vec::new(),
            deviations: Vec::new(),
            usual_wait: 0,
            at_once: false,
        }
    }
}

/// The strategies by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StrategyName {
    /// Round robin with long timeslices: no chaos.
    Fair,
    /// A random walk over ticks.
    Walk,
    /// Priorities with random change points.
    Pct,
    /// Random priorities of operations on shared objects.
    Pos,
    /// Every order of operations on shared objects alike.
    Surw,
    /// Some tasks do not run for a while.
    Starve,
    /// One after the other, all schedules with few preemptions.
    Systematic,
}

impl StrategyName {
    /// All strategies.
    pub const ALL: [Self; 7] =
        [Self::Fair, Self::Walk, Self::Pct, Self::Pos, Self::Surw, Self::Starve, Self::Systematic];

    /// The name that users type and read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fair => "fair",
            Self::Walk => "walk",
            Self::Pct => "pct",
            Self::Pos => "pos",
            Self::Surw => "surw",
            Self::Starve => "starve",
            Self::Systematic => "systematic",
        }
    }
}

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StrategyName {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.as_str() == name);
        found.ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// There is no strategy of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy `{0}`; known: {known}", known = StrategyName::ALL.map(StrategyName::as_str).join(", "))]
pub struct UnknownStrategy(pub String);

/// How one recording's tasks share the core.
///
/// A strategy is asked at the points where it could change its mind: when the running task has used up its timeslice,
/// cannot go on, yields, or when another task becomes able to run.
pub trait Strategy: Send {
    /// A task came into being. It becomes able to run at once.
    fn spawned(&mut self, task: TaskId);

    /// A task ended.
    fn exited(&mut self, task: TaskId);

    /// Which task runs next, and for how many ticks at most. `runnable` is in order of task number and not empty.
    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice;

    /// Which of these waiters, in order of arrival and not empty, the next wake wakes (an index).
    fn wake(&mut self, waiters: &[TaskId]) -> usize;

    /// The program seems to get nowhere: nobody is to be left out from now on.
    fn be_fair(&mut self) {}

    /// The decisions so far, if there is something to be learned from them; they are forgotten.
    fn decided(&mut self) -> Vec<Decided> {
        Vec::new()
    }

    /// What decides whose turn it is, if that can be told without asking: then a task that wakes others goes on with what is
    /// left of its timeslice, and behind one that begins to wait comes who [`Turns::next`] says. Neither need stop for it: the
    /// strategy is asked later, with the same questions, and gives the same answers.
    fn turns(&self) -> Option<Turns> {
        None
    }

    /// When a task has run last, as far as [`Self::turns`] depends on it.
    fn last_ran(&self, _task: TaskId) -> u64 {
        0
    }
}

/// Why and where a strategy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The task that ran last; none at the start. It is among the runnable only if it can go on.
    pub current: Option<TaskId>,
    /// Why it is asked.
    pub why: Why,
    /// Ticks that `current` ran since the previous decision.
    pub ran: u64,
    /// What `current` is about to do, where that is known.
    pub next: Option<Operation>,
    /// What a [`Lookout`] of `current` has found.
    pub found: Found,
}

/// What a lookout has found since the previous decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Operations on objects that are shared, or could be, as far as they count.
    pub events: u64,
    /// The number drawn for the operation that the task has stopped in front of ([`Why::Met`]).
    pub drawn: u64,
}

/// Why a strategy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The program starts.
    Start,
    /// The timeslice is used up.
    SliceOver,
    /// The current task is about to do something with an object that it shares, and has been on the lookout.
    Met,
    /// The current task can go on, but other tasks have become able to run since the last decision.
    Woken,
    /// The current task can go on but gives way: it probably waits for another in a loop. Where it says so itself, `next` is
    /// `sched_yield(2)`.
    Yielded,
    /// The current task cannot go on until something happens.
    Blocked,
    /// The current task has ended.
    Exited,
}

/// The operation a task is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A memory operation that ticked.
    Memory {
        /// The address it touches; 0 for a fence. A system call touches [`rrtest_preload::calls::KERNEL`].
        address: u64,
        /// Whether it can change memory.
        writes: bool,
    },
    /// A system call of this number.
    Syscall(u64),
}

/// A strategy's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The task to run; one of the runnable.
    pub task: TaskId,
    /// Ticks until the next question, at least 1.
    pub slice: u64,
    /// Whether the task shall stop before that, in front of operations on objects that it shares with others.
    pub lookout: Option<Lookout>,
}

impl Choice {
    /// Run `task` for `slice` ticks.
    #[must_use]
    pub fn plain(task: TaskId, slice: u64) -> Self {
        Self { task, slice, lookout: None }
    }
}

/// Which of the operations on objects that tasks share a task stops in front of ([`rrtest_preload::objects`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookout {
    /// For each of them a number is drawn; the task stops if it is less.
    pub bar: u64,
    /// Where these numbers come from.
    pub random: u64,
    /// Marks of the objects that others are about to touch ([`rrtest_preload::objects::mark`]). The task stops at these
    /// in any case.
    pub pending: u64,
    /// The bar is shifted down by so many bits where nobody else has touched the object, as far as known.
    pub alone: u32,
    /// After 2 to this power operations ever fewer count.
    pub budget: u32,
}

impl Lookout {
    /// A budget that is never used up, in which busy objects count as often as others.
    pub(crate) const ALL: u32 = objects::UNLIMITED as u32;

    /// Never stop, but count.
    pub(crate) const MEASURE: Self = Self { bar: 0, random: 1, pending: 0, alone: 0, budget: 40 };

    /// As the code in the process has it.
    pub(crate) fn watch(&self, task: TaskId) -> Watch {
        let Self { bar, random, pending, alone, budget } = *self;
        let (task, alone, budget) = (task.0.into(), alone.into(), budget.into());
        Watch { on: 1, task, random: random.max(1), bar, alone, pending, budget, ..Watch::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for strategy in StrategyName::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.as_str());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "random".parse::<StrategyName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown strategy `random`; known: fair, walk, pct, pos, surw, starve, systematic"
        );
    }
}
