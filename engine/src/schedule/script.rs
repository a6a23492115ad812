//! Scripts: schedules written out, to be run again, changed, and run with less and less in them.
//!
//! A script names each switch by the task that loses the core and by how many ticks that task has made ([`Spot`]). So a
//! switch keeps its place when other tasks do more or less before it. Surprises are named by the task they strike, and
//! by how many occasions for them the task has had. What a script does not name goes as the strategy `scripted` would
//! have it: see `strategies::scripted`.

use serde::{Deserialize, Serialize};

use super::injector::Stroke;
use super::strategy::Why;
use crate::task::TaskId;

/// A place in a task's execution: the operation with this number, from 1, is the next one that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spot {
    /// Which task.
    pub task: TaskId,
    /// Ticks that it has made, the one of the operation that it has come to included.
    pub ticks: u64,
}

/// Why a task loses the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It is preempted before the operation that it has come to.
    Before,
    /// It is preempted after that operation, by which others have become runnable.
    After,
    /// It yields.
    Yields,
    /// It cannot go on.
    Ends,
}

impl When {
    /// Returns what a strategy's being asked means for a script.
    #[must_use]
    pub fn of(why: Why) -> Self {
        match why {
            Why::SliceOver | Why::Met => Self::Before,
            Why::Woken => Self::After,
            Why::Yielded => Self::Yields,
            Why::Start | Why::Blocked | Why::Exited => Self::Ends,
        }
    }
}

/// A switch from one task to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Where the task that has the core loses it.
    pub at: Spot,
    /// Why it does.
    pub when: When,
    /// The task that gets it.
    pub to: TaskId,
}

impl Switch {
    /// Whether the task that loses the core could have gone on.
    #[must_use]
    pub fn preempts(&self) -> bool {
        matches!(self.when, When::Before | When::After) && self.to != self.at.task
    }
}

/// A wake that wakes another than the first waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The task that had the core.
    pub by: TaskId,
    /// Which of its wakes, from 1.
    pub wake: u64,
    /// The task that is woken.
    pub woken: TaskId,
}

/// A schedule written out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The task that runs first, if it is not the first one that can.
    pub first: Option<TaskId>,
    /// Switches, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub switches: Vec<Switch>,
    /// Wakes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub picks: Vec<Pick>,
    /// Surprises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strokes: Vec<Stroke>,
    /// Places at which a task stops to be looked at. This changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Spot>,
}

impl Script {
    /// Returns how many preemptions there are.
    #[must_use]
    pub fn preemptions(&self) -> usize {
        self.switches.iter().filter(|switch| switch.preempts()).count()
    }

    /// Returns how many surprises there are, wakes of others than the first waiter among them.
    #[must_use]
    pub fn surprises(&self) -> usize {
        self.strokes.len() + self.picks.len()
    }
}

/// A stretch of a task's execution during which it had the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which task.
    pub task: TaskId,
    /// Ticks that it had made before.
    pub from: u64,
    /// Ticks that it had made when it lost the core.
    pub to: u64,
}

/// What a recording's strategy has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The schedule.
    pub script: Script,
    /// Who has had the core, in order.
    pub turns: Vec<Turn>,
    /// Whether there was too much to note all of it.
    pub cut: bool,
}
