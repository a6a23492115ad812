//! What gdb shows of a thread besides its number.

use gdbstub::common::Tid;
use gdbstub::target::ext::thread_extra_info::ThreadExtraInfo;

use super::debugger::Debugger;
use super::state::answers::part;
use super::state::threads::task;
use crate::error::Error;

impl ThreadExtraInfo for Debugger<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Error> {
        let task = task(tid);
        let state = self.timeline.session().state();
        let name = state.tasks().find(|(id, _)| *id == task).map_or("", |(_, name)| name);
        let runs = if task == self.timeline.current() { ", runs" } else { "" };
        Ok(part(format!("{name}{runs}").as_bytes(), 0, usize::MAX, buffer))
    }
}
