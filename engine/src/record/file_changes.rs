//! System calls that change files that are mapped: the trace has the contents from before, and tells what is new.

use std::fs::Metadata;
use std::ops::Range;

use super::fds;
use super::recorder::{Flow, Recorder};
use super::tasks::Call;
use crate::syscalls::{Change, Changed, Extent, change};
use crate::task::TaskId;
use crate::trace::event::Effect;
use crate::trace::inodes::identity;
use crate::tracee::os;

/// Longest path (PATH_MAX).
const PATH: usize = 4096;

impl Recorder<'_> {
    /// A call is about to be made: what is mapped of the file that it changes is kept.
    pub(super) fn before_change(&mut self, id: TaskId, call: &Call) {
        if let Some(Change { file, .. }) = change(call.number(), &call.args())
            && let Some(metadata) = self.changed(id, call, file)
        {
            self.log.before_change(identity(&metadata));
        }
    }

    /// A call has been made: what it changed of a file that is mapped.
    pub(super) fn after_change(&mut self, id: TaskId, call: &Call, result: i64) -> Flow<Effect> {
        let Some(Change { file, extent }) = change(call.number(), &call.args()) else {
            return Ok(Effect::None);
        };
        let Ok(count) = u64::try_from(result) else { return Ok(Effect::None) };
        let Some(metadata) = self.changed(id, call, file) else { return Ok(Effect::None) };
        let range = self.changed_range(id, call, extent, count, metadata.len());
        let changed = self.log.after_change(identity(&metadata), range);
        let changed = changed.map_err(os("read what the program writes to a mapped file"))?;
        Ok(changed.map_or(Effect::None, Effect::ChangeFile))
    }

    /// The file that a call changes, if there is one.
    fn changed(&self, id: TaskId, call: &Call, file: Changed) -> Option<Metadata> {
        let tid = self.tasks[id.0 as usize].tid;
        let args = call.args();
        let path = match file {
            Changed::Descriptor(fd) => format!("/proc/{tid}/fd/{}", args[fd] as i32),
            Changed::Path(directory, path) => {
                let path = self.space(id).memory.text(args[path], PATH);
                let directory = directory.map(|fd| args[fd] as i32).filter(|fd| *fd != libc::AT_FDCWD);
                match directory {
                    _ if path.starts_with('/') => format!("/proc/{tid}/root{path}"),
                    Some(fd) => format!("/proc/{tid}/fd/{fd}/{path}"),
                    None => format!("/proc/{tid}/cwd/{path}"),
                }
            }
        };
        std::fs::metadata(path).ok().filter(Metadata::is_file)
    }

    fn changed_range(&self, id: TaskId, call: &Call, extent: Extent, count: u64, size: u64) -> Range<u64> {
        let args = call.args();
        let tid = self.tasks[id.0 as usize].tid;
        let until = |end: u64| end.saturating_sub(count)..end;
        let Some(Change { file: Changed::Descriptor(fd), .. }) = change(call.number(), &args) else {
            return 0..0;
        };
        let appends = || fds::flags(tid, args[fd]) & libc::O_APPEND != 0;
        match extent {
            Extent::Size => 0..0,
            Extent::Whole => 0..u64::MAX,
            Extent::At(at) if args[at] != u64::MAX && appends() => until(size),
            Extent::At(at) if args[at] != u64::MAX => args[at]..args[at].saturating_add(count),
            Extent::Until(at) if args[at] != 0 => until(self.space(id).memory.u64(args[at]).unwrap_or(0)),
            Extent::Offset | Extent::At(_) | Extent::Until(_) => until(fds::offset(tid, args[fd])),
        }
    }
}
