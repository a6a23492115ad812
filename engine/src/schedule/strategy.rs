//! The interface of strategies: what they are asked, and what they answer.

use rrtest_preload::layout::{Turns, Watch};
use rrtest_preload::objects;
use serde::{Deserialize, Serialize};

use super::names::StrategyName;
use super::script::{Noted, Script, Spot};
use crate::task::TaskId;

/// How a recording is scheduled. With equal plans, a program that behaves equally gets equal decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The strategy.
    pub strategy: StrategyName,
    /// The seed of all random choices.
    pub seed: u64,
    /// Expected ticks of the program, roughly, from earlier recordings; 0 if unknown.
    pub expected_ticks: u64,
    /// Expected operations of each task on shared objects, by task number, as far as known.
    pub events: Vec<u64>,
    /// Deviations of a systematic schedule from the first one, in order.
    pub deviations: Vec<Deviation>,
    /// For how long all tasks are expected to wait for times, in ns, roughly, from earlier recordings; 0 if unknown.
    pub usual_wait: u64,
    /// Whether sched_yield(2) returns at once in a systematic schedule, as with a core for each thread.
    pub at_once: bool,
    /// What a scripted schedule is, and places to be looked at in any.
    pub script: Script,
    /// Where a guided schedule leaves that of its seed, in order.
    #[serde(skip)]
    pub branches: Vec<Branch>,
}

/// From this decision on a guided schedule is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Number of the decision, from 0.
    pub decision: u64,
    /// The seed of all random choices from there on.
    pub seed: u64,
}

/// A decision for another task than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// Number of the decision, from 0, among those with several runnable tasks.
    pub position: u32,
    /// The task.
    pub task: TaskId,
}

/// A decision of a systematic schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The task that ran.
    pub chosen: TaskId,
    /// The other tasks that could have run, if that could make a difference.
    pub alternatives: Vec<TaskId>,
    /// Distinguishes this decision, and all before it, from others.
    pub digest: u64,
    /// Whether the task that had the core yielded (sched_yield(2)).
    pub gave_way: bool,
}

impl Plan {
    /// A plan without expectations.
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
            script: Script::default(),
            branches: Vec::new(),
        }
    }

    /// A plan that runs a script, with the random numbers of a seed.
    #[must_use]
    pub fn scripted(script: Script, seed: u64) -> Self {
        Self { script, ..Self::new(StrategyName::Scripted, seed) }
    }
}

/// How one recording's tasks share the core.
///
/// A strategy is asked where it could change its mind: when the running task has used up its timeslice, cannot go on,
/// or yields, and when another task becomes runnable.
pub trait Strategy: Send {
    /// Notes a new task, which is runnable at once.
    fn spawned(&mut self, task: TaskId);

    /// Notes that a task has ended.
    fn exited(&mut self, task: TaskId);

    /// Decides which task runs next, and for how many ticks at most. `runnable` is in order of task number and not
    /// empty.
    fn decide(&mut self, point: Point, runnable: &[TaskId]) -> Choice;

    /// Picks the waiter to wake next (an index). `waiters` are in order of arrival and not empty.
    fn wake(&mut self, waiters: &[TaskId]) -> usize;

    /// Leaves nobody out from now on, as the program seems to make no progress.
    fn be_fair(&mut self) {}

    /// Takes the decisions so far, if something can be learned from them.
    fn decided(&mut self) -> Vec<Decided> {
        Vec::new()
    }

    /// Takes what has been noted of the decisions so far.
    fn noted(&mut self) -> Noted {
        Noted::default()
    }

    /// Returns where the task stands that ran last, if that place is marked.
    fn mark(&self) -> Option<Spot> {
        None
    }

    /// Returns what determines whose turn it is, if that can be predicted: then a task that wakes others goes on with
    /// what is left of its timeslice, and after one that begins to wait the task given by [`Turns::next`] runs. Neither
    /// need stop: the strategy is asked the same questions later, and gives the same answers.
    fn turns(&self) -> Option<Turns> {
        None
    }

    /// Returns when a task ran last, as far as [`Self::turns`] depends on it.
    fn last_ran(&self, _task: TaskId) -> u64 {
        0
    }
}

/// Why and where a strategy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The task that ran last; `None` at the start. It is runnable only if it can go on.
    pub current: Option<TaskId>,
    /// Why the strategy is asked.
    pub why: Why,
    /// Ticks that `current` ran since the previous decision.
    pub ran: u64,
    /// What `current` is about to do, if known.
    pub next: Option<Operation>,
    /// What an [`AccessWatch`] for `current` has found.
    pub found: Hits,
}

/// What an access watch has found since the previous decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Counted operations on objects that are, or could be, shared.
    pub events: u64,
    /// The number drawn for the operation before which the task has stopped ([`Why::Met`]).
    pub drawn: u64,
}

/// Why a strategy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The program starts.
    Start,
    /// The timeslice is used up.
    SliceOver,
    /// The current task, which has an access watch, is about to access a shared object.
    Met,
    /// The current task can go on, but other tasks have become runnable since the last decision.
    Woken,
    /// The current task can go on but yields: it probably waits for another in a loop. If it has yielded explicitly,
    /// `next` is `sched_yield(2)`.
    Yielded,
    /// The current task cannot go on until something happens.
    Blocked,
    /// The current task has ended.
    Exited,
}

/// The operation that a task is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A memory operation that ticked.
    Memory {
        /// The address that it accesses; 0 for a fence. A system call accesses [`rrtest_preload::calls::KERNEL`].
        address: u64,
        /// Whether it can change memory.
        writes: bool,
    },
    /// A system call, by number.
    Syscall(u64),
}

/// A strategy's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The task to run; one of the runnable.
    pub task: TaskId,
    /// Ticks until the next question, at least 1.
    pub slice: u64,
    /// Whether the task shall stop earlier, before operations on objects that it shares with others.
    pub access_watch: Option<AccessWatch>,
}

impl Choice {
    /// Runs `task` for `slice` ticks.
    #[must_use]
    pub fn plain(task: TaskId, slice: u64) -> Self {
        Self { task, slice, access_watch: None }
    }
}

/// Before which operations on shared objects a task stops ([`rrtest_preload::objects`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessWatch {
    /// A number is drawn for each operation; the task stops if it is less than this.
    pub bar: u64,
    /// The source of these numbers.
    pub random: u64,
    /// Marks of the objects that other tasks are about to access ([`rrtest_preload::objects::mark`]). The task always
    /// stops at these.
    pub pending: u64,
    /// The bar is shifted down by this many bits if no other task is known to have touched the object.
    pub alone: u32,
    /// After 2 to this power operations, ever fewer count.
    pub budget: u32,
}

impl AccessWatch {
    /// A budget that is never used up, in which busy objects count as often as others.
    pub(crate) const ALL: u32 = objects::UNLIMITED as u32;

    /// Counts but never stops.
    pub(crate) const MEASURE: Self = Self { bar: 0, random: 1, pending: 0, alone: 0, budget: 40 };

    /// Converts it to the format of the code in the process.
    pub(crate) fn watch(&self, task: TaskId) -> Watch {
        let Self { bar, random, pending, alone, budget } = *self;
        let (task, alone, budget) = (task.0.into(), alone.into(), budget.into());
        Watch { on: 1, task, random: random.max(1), bar, alone, pending, budget, ..Watch::default() }
    }
}
