//! execve(2).

use std::rc::Rc;

use crate::error::Error;
use crate::replay::image;
use crate::replay::live::Handle;
use crate::replay::session::program_name;
use crate::replay::state::{At, Space};
use crate::replay::step::Step;
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Memory, Stopped, another};

impl Step<'_, '_> {
    /// A new process gets the recorded image, and the old one ends. It is not executed: the program's files are in
    /// the trace only. The new one is a copy of the old one first, whose memory may be shared with a third.
    pub(in crate::replay) fn execute(&mut self, stopped: Stopped, call: &Syscall) -> Result<(), Error> {
        let Effect::Executed(image) = &call.effect else {
            return Err(self.misplaced("an image", &format!("{:?}", call.effect)));
        };
        let current = self.state.current;
        let (stopped, new) = another(stopped, &self.live.kill_on_drop)?;
        let memory = Memory::open(new.tid())?;
        let (files, contents) = (&mut self.live.files, &self.live.contents);
        let new = image::fill(new, (&memory, &self.live.area), image, files, contents)?;
        let process = self.state.running().process;
        self.hold(current, stopped, At::Ready);
        self.kill_process(current)?;
        let tid = new.tid();
        *self.live.handle(current) = Handle::new(new, tid);
        self.live.memories.push(Rc::new(memory));
        self.state.spaces.push(Space::of(image));
        let space = self.live.memories.len() - 1;
        let task = self.state.running_mut();
        (task.name, task.process, task.space) = (program_name(&image.program), process, space);
        (task.at, task.slot) = (At::Ready, None);
        Ok(())
    }
}
