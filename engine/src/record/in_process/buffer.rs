//! The system-call buffer: what it may do, and what it has logged.
//!
//! What the buffer logs in the shared area becomes part of our log when the task stops at the next event: before that replay
//! could not find the place. See [`super::call_sites`] for how the program comes to use it.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use rrtest_preload::calls::{self, Way};
use rrtest_preload::layout::{Descriptor, Mode};

use crate::record::kernel::fds::{self, Kind};
use crate::record::recorder::Recorder;
use crate::record::start::start_up::StartUp;
use crate::record::tree::call::Call;
use crate::schedule::surprise::Surprise;
use crate::task::TaskId;
use crate::trace::event::{Event, Stream};
use crate::tracee::{Area, buffered_calls};

/// What the recorder has told the buffer.
#[derive(Debug, Default)]
pub(in crate::record) struct Buffer {
    /// The processes' tables of descriptors.
    tables: BTreeMap<Pid, usize>,
    /// Those that are not used any more.
    free: Vec<usize>,
    /// Processes that share their descriptors with others: nothing is known of those.
    sharing: BTreeSet<Pid>,
    /// The next call is to stop, and ends the timeslice.
    hurried: bool,
}

impl Recorder<'_> {
    /// What the buffer must know before a task goes on.
    pub(in crate::record) fn prepare_buffer(&mut self, id: TaskId) {
        let quiet = !self.someone_in_kernel() && self.watches.is_empty();
        let table = self.table(id);
        self.prepare_hand_over(id);
        let area = self.clock.area();
        area.set_quiet(quiet);
        area.set_table(table);
        self.set_mode(id);
    }

    /// While the program starts up, its calls are looked at. What a signal waits for is the next call that stops.
    pub(super) fn set_mode(&self, id: TaskId) {
        let looked_at = self.start_up.as_ref().is_some_and(StartUp::looks_at_all);
        let stops = self.buffer.hurried || self.options.calls_stop;
        let off = stops || looked_at || !self.tasks[id].deferred.is_empty();
        self.clock.area().set_mode(if off { Mode::Off } else { Mode::Record });
    }

    /// Have the running task stop at its next call, whatever that is.
    pub(in crate::record) fn hurry(&mut self, id: TaskId, hurried: bool) {
        self.buffer.hurried = hurried;
        self.set_mode(id);
    }

    /// Whether it was to stop at the next call. It has come to that.
    pub(in crate::record) fn was_hurried(&mut self) -> bool {
        std::mem::take(&mut self.buffer.hurried)
    }

    /// The running task is at an event: what it has done without a stop comes before that.
    pub(in crate::record) fn take_buffered(&mut self) {
        if self.clock.area().cursor() == 0 {
            return;
        }
        let log = self.clock.area().take_log();
        for call in buffered_calls(&log).filter(|call| !call.is_read()) {
            self.stats.syscalls += 1;
            self.note_call(call.number);
            if matches!(calls::call(call.number).way, Way::Map | Way::Repeat) {
                self.sharing.forget();
            }
            if let Some(stream) = call.stream.and_then(Stream::of) {
                self.output.push(stream, call.payload);
            }
        }
        self.log.push(Event::Buffered(log));
    }

    /// The number of the table of descriptors of a task's process.
    fn table(&mut self, id: TaskId) -> Option<usize> {
        let pid = self.task(id).pid;
        let buffer = &mut self.buffer;
        if buffer.sharing.contains(&pid) {
            return None;
        }
        if let Some(table) = buffer.tables.get(&pid) {
            return Some(*table);
        }
        let table = buffer.free.pop().or(Some(buffer.tables.len())).filter(|table| *table < Area::TABLES)?;
        buffer.tables.insert(pid, table);
        self.clock.area().clear_table(table);
        Some(table)
    }

    /// A process is no more.
    pub(in crate::record) fn give_back_table(&mut self, pid: Pid) {
        self.buffer.free.extend(self.buffer.tables.remove(&pid));
        self.buffer.sharing.remove(&pid);
    }

    /// These processes share their descriptors: what one closes is closed for the other.
    pub(in crate::record) fn share_descriptors(&mut self, pids: [Pid; 2]) {
        for pid in pids {
            self.buffer.free.extend(self.buffer.tables.remove(&pid));
            self.buffer.sharing.insert(pid);
        }
    }

    /// What the buffer knows of descriptors may not hold any more: a file has been mapped.
    pub(in crate::record) fn forget_descriptors(&mut self) {
        for table in self.buffer.tables.values() {
            self.clock.area().clear_table(*table);
        }
    }

    /// Let the buffer know what a call that the kernel has made says about descriptors.
    pub(in crate::record) fn note_descriptors(&mut self, id: TaskId, call: &Call, result: i64) {
        let Some(table) = self.table(id) else { return };
        let area = self.clock.area();
        let fd = call.args()[0];
        match call.number() as i64 {
            libc::SYS_close => area.set_descriptor(table, fd & 0xffff_ffff, Descriptor::Unknown),
            libc::SYS_dup2 | libc::SYS_dup3 => {
                area.set_descriptor(table, call.args()[1] & 0xffff_ffff, Descriptor::Unknown);
            }
            libc::SYS_close_range | libc::SYS_execve | libc::SYS_execveat | libc::SYS_unshare => {
                area.clear_table(table);
            }
            _ if result < 0 => {}
            libc::SYS_open | libc::SYS_openat | libc::SYS_openat2 | libc::SYS_creat => {
                let kind = self.descriptor_kind(id, result.cast_unsigned());
                self.clock.area().set_descriptor(table, result.cast_unsigned(), kind);
            }
            _ if matches!(calls::call(call.number()).way, Way::File | Way::Write | Way::Read) => {
                let kind = self.descriptor_kind(id, fd);
                self.clock.area().set_descriptor(table, fd & 0xffff_ffff, kind);
            }
            _ => {}
        }
    }

    fn descriptor_kind(&mut self, id: TaskId, fd: u64) -> Descriptor {
        let tid = self.tasks[id].tid;
        match self.kind(id, fd) {
            // Whoever listens hears of each piece as it is written.
            Kind::Output(_) if self.options.listener.is_some() => Descriptor::Unknown,
            Kind::Output(Stream::Stdout) => Descriptor::Stdout,
            Kind::Output(Stream::Stderr) => Descriptor::Stderr,
            Kind::Ready if self.is_recorders(id, fd) => Descriptor::Unknown,
            Kind::Ready if self.fds.identity(tid, fd).is_some_and(|it| self.log.mapped(it).is_none()) => {
                Descriptor::Ready
            }
            Kind::Ready => Descriptor::Unknown,
            // Reading in the background stops the process (termios(3), "Job control").
            Kind::Waitable if fds::is_terminal(tid, fd) => Descriptor::Unknown,
            // The buffer would read all that is there.
            Kind::Waitable if self.start_up.is_some() || self.dice.have(Surprise::Short) => {
                Descriptor::Unknown
            }
            Kind::Waitable => Descriptor::Waitable,
        }
    }
}
