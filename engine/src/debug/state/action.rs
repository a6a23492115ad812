//! How the program is to go on.

use std::ops::Range;

use crate::task::TaskId;

/// How gdb has a process go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::debug) enum Action {
    /// Until something that it has set is met.
    #[default]
    Run,
    /// One instruction of a task.
    Step(TaskId),
    /// Instructions of a task, as long as these addresses are theirs.
    StepWithin(TaskId, Range<u64>),
    /// The other way.
    RunBack,
    StepBack,
}
