//! Calls that shape memory.

use std::fs::File;

use super::recorder::{Flow, Next, Recorder};
use super::tasks::Call;
use crate::task::TaskId;
use crate::trace::event::Effect;
use crate::tracee::{Stopped, os};

impl Recorder<'_> {
    /// mmap(2): a file's contents go into the trace.
    pub(super) fn map(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let [_, len, prot, flags, fd, offset] = call.args();
        let flags = flags as i32;
        let anonymous = flags & libc::MAP_ANONYMOUS != 0;
        // A shared mapping that is only read is as good as a private one: the log notices if the file changes.
        if !anonymous && flags & libc::MAP_TYPE != libc::MAP_PRIVATE && prot as i32 & libc::PROT_WRITE != 0 {
            return self.unsupported(id, "a writable mmap of a file with MAP_SHARED");
        }
        let position = self.clock.position(&call.registers);
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        let mapped = !(-4095..0).contains(&result);
        let effect = if mapped && !anonymous {
            let path = format!("/proc/{}/fd/{}", stopped.tid(), fd as i32);
            let name = std::fs::read_link(&path).unwrap_or_else(|_| path.clone().into());
            let what = || format!("read `{}`, which the program maps", name.display());
            let file = File::open(&path).map_err(os(what()))?;
            Effect::MapFile(self.log.map_file(&name, file, offset, len).map_err(os(what()))?)
        } else {
            Effect::None
        };
        self.finish(id, stopped, call, position, result, Vec::new(), effect)
    }

    /// madvise(2): advice whose effect on contents is the kernel's whim is refused, as an older kernel would.
    pub(super) fn advise(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        /// linux/mman.h: what older kernels do not have either.
        const DONTNEED_LOCKED: i32 = 24;
        const GUARD_INSTALL: i32 = 102;
        const GUARD_REMOVE: i32 = 103;
        match call.args()[2] as i32 {
            libc::MADV_FREE | DONTNEED_LOCKED | GUARD_INSTALL | GUARD_REMOVE => {
                self.skip(id, stopped, call, -i64::from(libc::EINVAL), Vec::new())
            }
            libc::MADV_REMOVE => self.unsupported(id, "madvise(MADV_REMOVE)"),
            _ => {
                let position = self.clock.position(&call.registers);
                let (stopped, result) = self.run_to_exit(id, stopped)?;
                self.finish(id, stopped, call, position, result, Vec::new(), Effect::None)
            }
        }
    }
}
