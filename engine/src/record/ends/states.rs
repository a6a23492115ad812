//! Describes the tasks when a program ended in a way that needs explaining.

use crate::ending::TaskState;
use crate::record::deadlock::report::Observer;
use crate::record::recorder::Recorder;
use crate::task::TaskId;

impl Recorder<'_> {
    /// Describes what each living task is doing, beginning with `first`.
    pub(in crate::record) fn states(&mut self, first: Option<TaskId>) -> Vec<TaskState> {
        self.surprises.explain_strikes(&self.tasks, &self.code.call_sites);
        let observer = Observer {
            options: self.options,
            clock: &self.clock,
            tasks: &self.tasks,
            futexes: &self.futexes,
            poller: &self.poller,
            takers: &self.outside.takers,
            call_sites: &self.code.call_sites,
        };
        observer.states(first)
    }
}
