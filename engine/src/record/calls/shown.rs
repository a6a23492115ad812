//! Values that a task is shown about itself in place of the kernel's.

use crate::record::kernel::fds;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome};
use crate::record::tree::shown::Shown;
use crate::task::TaskId;
use crate::tracee::Stopped;

impl Recorder<'_> {
    /// personality(2).
    pub(in crate::record) fn personality(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        /// The argument that only queries.
        const ASKS: u32 = u32::MAX;
        let [asked, ..] = call.args();
        let asked = asked as u32;
        let before = self.tasks.task(id).natively.persona;
        let result = i64::from(before);
        if asked == ASKS {
            return self.skip(id, stopped, call, Outcome::result(result));
        }
        let fixed = asked | libc::ADDR_NO_RANDOMIZE as u32;
        let (stopped, kernels) =
            self.make_other(id, stopped, call, libc::SYS_personality, [fixed.into(), 0, 0, 0, 0, 0])?;
        if kernels >= 0 {
            self.tasks.task(id).natively.persona = asked;
        }
        self.finish_other(id, stopped, call, Outcome::result(if kernels < 0 { kernels } else { result }))
    }

    /// Returns what to show to a call that reads the quota of processor time; `None` if it does not.
    pub(in crate::record) fn quota(&mut self, id: TaskId, call: &Call) -> Option<Shown> {
        let [fd, _, len, at, ..] = call.args();
        let moves = match call.number() as i64 {
            libc::SYS_read => true,
            libc::SYS_pread64 => false,
            _ => return None,
        };
        let text = self.poller.quota(&self.tasks, id, fd)?;
        let at = if moves { fds::offset(self.tasks[id].tid, fd) } else { at };
        Some(Shown::part(text.as_bytes(), at, len, moves))
    }

    /// Answers a call with a text of the recorder's own.
    pub(in crate::record) fn show(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        shown: Shown,
    ) -> Flow<Next> {
        let [fd, address, ..] = call.args();
        let Shown { bytes, next } = shown;
        let len = bytes.len() as i64;
        let (result, writes) = self.tasks.written(id, address, bytes);
        let result = if result == 0 { len } else { result };
        let Some(next) = next.filter(|_| result > 0) else {
            return self.skip(id, stopped, call, Outcome::new(result, writes));
        };
        // Moves the kernel's file offset as well.
        let (stopped, _) =
            self.make_other(id, stopped, call, libc::SYS_lseek, [fd, next, libc::SEEK_SET as u64, 0, 0, 0])?;
        self.finish_other(id, stopped, call, Outcome::new(result, writes))
    }
}
