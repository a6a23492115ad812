//! System calls that change mapped files. The trace has a file's contents as they were when it was mapped; the log says
//! what has changed.

use std::fs::Metadata;
use std::ops::Range;

use nix::unistd::Pid;

use crate::record::journal::Journal;
use crate::record::kernel::call_in_progress::PATH;
use crate::record::kernel::fds;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{Change, Changed, Extent, change};
use crate::task::TaskId;
use crate::trace::event::{Effect, Write};
use crate::trace::log::inodes::identity;
use crate::tracee::{Fd, Place, file_at, os};

impl Journal {
    /// Saves what is mapped of the file that a call is about to change.
    pub(in crate::record) fn before_change(&mut self, tasks: &Tasks, id: TaskId, call: &mut Call) {
        call.changes = false;
        if let Some(Change { file, .. }) = change(call.number(), &call.args())
            && let Some(metadata) = tasks.changed(id, call, file)
        {
            call.changes = self.log.before_change(identity(&metadata))
                || metadata.len() == 0 && tasks.memory_of(id, call, file).is_some();
        }
    }

    /// Returns what a call has changed of a mapped file.
    pub(super) fn after_change(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        call: &Call,
        result: i64,
    ) -> Flow<Effect> {
        let (true, Ok(count)) = (call.changes, u64::try_from(result)) else { return Ok(Effect::None) };
        let Some(Change { file, extent }) = change(call.number(), &call.args()) else {
            return Ok(Effect::None);
        };
        let Some(metadata) = tasks.changed(id, call, file) else { return Ok(Effect::None) };
        let range = tasks.changed_range(id, call, extent, count, metadata.len());
        if let Some(pid) = tasks.memory_of(id, call, file) {
            self.written_elsewhere(tasks, pid, &[range]);
            return Ok(Effect::None);
        }
        let changed = self.log.after_change(identity(&metadata), range);
        let changed = changed.map_err(os("read what the program writes to a mapped file"))?;
        Ok(changed.map_or(Effect::None, Effect::ChangeFile))
    }

    /// Notes what process_vm_writev(2) has written into the memory of a recorded process.
    pub(super) fn after_remote_write(
        &mut self,
        tasks: &Tasks,
        id: TaskId,
        call: &Call,
        result: i64,
    ) -> Flow<()> {
        let [pid, _, _, array, count, _] = call.args();
        let Ok(mut left) = u64::try_from(result) else { return Ok(()) };
        let mut ranges = Vec::new();
        for index in 0..count {
            let (at, memory) = (array + index * 16, &tasks.space(id).memory);
            let (start, len) = (memory.u64(at)?, memory.u64(at + 8)?.min(left));
            ranges.push(start..start.saturating_add(len));
            left -= len;
        }
        self.written_elsewhere(tasks, pid as i32, &ranges);
        Ok(())
    }

    /// Notes that a call has written into the memory of a process.
    fn written_elsewhere(&mut self, tasks: &Tasks, pid: i32, ranges: &[Range<u64>]) {
        let Some(task) = tasks.of(Pid::from_raw(pid)).next() else { return };
        let read = |range: &Range<u64>| {
            let bytes = task.space.memory.available(range.start, (range.end - range.start) as usize);
            Write { address: range.start, bytes }
        };
        let writes = ranges.iter().filter(|range| !range.is_empty()).map(read).collect();
        self.elsewhere.push((task.id, writes));
    }
}

impl Tasks {
    /// Returns the process whose memory a call writes through `/proc/PID/mem` (proc_pid_mem(5)).
    fn memory_of(&self, id: TaskId, call: &Call, file: Changed) -> Option<i32> {
        let Changed::Descriptor(fd) = file else { return None };
        fds::memory_of(self[id].tid, call.args()[fd])
    }

    /// Returns the file that a call changes, if there is one.
    fn changed(&self, id: TaskId, call: &Call, file: Changed) -> Option<Metadata> {
        let tid = self[id].tid;
        let args = call.args();
        let found = match file {
            Changed::Descriptor(fd) => Fd::argument(tid, args[fd]).metadata().ok(),
            Changed::Path(directory, path) => {
                let path = self.space(id).memory.text(args[path], PATH);
                match directory.map(|fd| args[fd]) {
                    Some(fd) if path.is_empty() => Fd::argument(tid, fd).metadata().ok(),
                    fd => {
                        let directory =
                            fd.map_or(Place::WorkingDirectory, |fd| Place::of_directory(fd as i32));
                        file_at(tid, directory, &path).ok()
                    }
                }
            }
        };
        found.filter(Metadata::is_file)
    }

    fn changed_range(&self, id: TaskId, call: &Call, extent: Extent, count: u64, size: u64) -> Range<u64> {
        let args = call.args();
        let tid = self[id].tid;
        let until = |end: u64| end.saturating_sub(count)..end;
        let Some(Change { file: Changed::Descriptor(fd), .. }) = change(call.number(), &args) else {
            return 0..0;
        };
        let appends = || fds::flags(tid, args[fd]) & libc::O_APPEND != 0;
        match extent {
            Extent::Size => 0..0,
            Extent::WaitAll => 0..u64::MAX,
            Extent::From(at) => args[at]..u64::MAX,
            Extent::Told(at) => args[at]..args[at].saturating_add(args[at + 1]),
            Extent::At(at) if args[at] != u64::MAX && appends() => until(size),
            Extent::At(at) if args[at] != u64::MAX => args[at]..args[at].saturating_add(count),
            Extent::Until(at) if args[at] != 0 => until(self.space(id).memory.u64(args[at]).unwrap_or(0)),
            Extent::Offset | Extent::At(_) | Extent::Until(_) => until(fds::offset(tid, args[fd])),
        }
    }
}
