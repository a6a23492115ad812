//! What is written down of a recording.

use crate::ending::Stats;
use crate::output::Output;
use crate::schedule::portfolio::Measured;
use crate::task::TaskId;
use crate::trace::event::Write;
use crate::trace::log::Log;

/// The events, the output, and what is counted and measured on the way.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) log: Log,
    pub(super) output: Output,
    pub(super) stats: Stats,
    /// What later recordings of the program can make use of.
    pub(super) measured: Measured,
    /// What a call has written into the memory of other tasks, to be logged behind it.
    pub(super) elsewhere: Vec<(TaskId, Vec<Write>)>,
    /// The kernel has made a call since the tasks in it were last looked at: it may have woken some.
    pub(super) unsettled: bool,
}
