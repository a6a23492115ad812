//! Where an attempt begins: on which date, how long after the machine was booted, on how many cores, and so on. The
//! surprises that decide this strike as the program has started up, before it has seen any of it. The room stands on
//! [`wait`](super::wait).

mod clocks;
mod machine;

use super::recorder::Recorder;
use super::step::Flow;
use crate::task::TaskId;

/// Whom a surprise strikes that the whole program has.
const ALL: TaskId = TaskId(0);

impl Recorder<'_> {
    /// Decides where the program begins, once it has started up.
    pub(in crate::record) fn begin(&mut self) -> Flow<()> {
        if self.scheduler.start_up.is_some() || std::mem::replace(&mut self.surprises.begun, true) {
            return Ok(());
        }
        self.begin_clocks()?;
        self.begin_machine();
        Ok(())
    }
}
