//! The system-call buffer: which call sites lead into it, what it may do, and what it has logged.
//!
//! A call site is patched when a task comes to it for the second time with a call that the buffer can make. What the buffer
//! logs in the shared area becomes part of our log when the task stops at the next event: before that replay could not
//! find the place.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use rrtest_preload::calls::{self, Way};
use rrtest_preload::layout::{Descriptor, ENTRY, Mode};

use super::fds::Kind;
use super::recorder::{Flow, Recorder};
use super::tasks::{Call, Hold};
use crate::task::TaskId;
use crate::trace::event::{Event, Patched, Registers, Stream};
use crate::tracee::patch::{AROUND, Patch, Window, plan};
use crate::tracee::{Area, Stopped, buffered_calls, maps};

/// How often a task comes to a call site before it is patched.
const HITS: u32 = 2;

/// The length of a `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

/// What the recorder knows of call sites and of what the buffer knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffer {
    /// How often tasks have come to a call site, by address space and address.
    hits: BTreeMap<(u32, u64), u32>,
    /// The call sites that lead to the stubs.
    sites: Vec<u64>,
    /// Where handlers of signals have interrupted something, and return to.
    returned_to: BTreeSet<u64>,
    /// The processes' tables of descriptors.
    tables: BTreeMap<Pid, usize>,
    /// Those that are not used any more.
    free: Vec<usize>,
    /// Processes that share their descriptors with others: nothing is known of those.
    sharing: BTreeSet<Pid>,
    /// The next call is to stop, and ends the timeslice.
    hurried: bool,
}

impl Buffer {
    /// The address in the program's code that one in a stub stands for, roughly.
    pub(super) fn original(&self, ip: u64) -> u64 {
        let site = Area::stub_at(ip).and_then(|stub| self.sites.get(stub));
        site.map_or(ip, |site| site + SYSCALL_LEN)
    }

    /// What a copy of the program's only process begins with.
    pub(super) fn of_copy(&self) -> Self {
        Self { hits: self.hits.clone(), sites: self.sites.clone(), ..Self::default() }
    }

    /// A handler has interrupted something that goes on at `ip` later.
    pub(super) fn returns_to(&mut self, ip: u64) {
        self.returned_to.insert(ip);
    }
}

impl Recorder<'_> {
    /// What the buffer must know before a task goes on.
    pub(super) fn prepare_buffer(&mut self, id: TaskId) {
        let quiet = !self.someone_in_kernel() && self.watches.is_empty();
        let table = self.table(id);
        let area = self.clock.area();
        for (crowd, tasks) in self.futexes.crowds() {
            area.set_crowd(crowd, tasks);
        }
        area.set_quiet(quiet);
        area.set_table(table);
        // While it starts up, every call is looked at.
        let off = self.buffer.hurried || self.start_up.is_some();
        area.set_mode(if off { Mode::Off } else { Mode::Record });
    }

    /// Have the running task stop at its next call, whatever that is.
    pub(super) fn hurry(&mut self, hurried: bool) {
        self.buffer.hurried = hurried;
        self.clock.area().set_mode(if hurried { Mode::Off } else { Mode::Record });
    }

    /// Whether it was to stop at the next call. It has come to that.
    pub(super) fn was_hurried(&mut self) -> bool {
        std::mem::take(&mut self.buffer.hurried)
    }

    /// The running task is at an event: what it has done without a stop comes before that.
    pub(super) fn take_buffered(&mut self) {
        if self.clock.area().cursor() == 0 {
            return;
        }
        let log = self.clock.area().take_log();
        for call in buffered_calls(&log) {
            self.stats.syscalls += 1;
            if matches!(calls::call(call.number).way, Way::Map | Way::Repeat) {
                self.sharing.forget();
            }
            if let Some(stream) = call.stream.and_then(stream) {
                self.output.push((stream, call.payload.to_vec()));
            }
        }
        self.log.push(Event::Buffered(log));
    }

    /// A task has come to a call. If its call site can be made to lead into the buffer, it does from now on, and the
    /// task stands in the stub.
    pub(super) fn patch(&mut self, id: TaskId, stopped: &Stopped, registers: &mut Registers) -> Flow<()> {
        if calls::call(registers.number()).way == Way::Stop || Area::is_buffer(registers.ip()) {
            return Ok(());
        }
        let space = self.space(id);
        let site = registers.ip().wrapping_sub(SYSCALL_LEN);
        let hits = self.buffer.hits.entry((space.number, site)).or_default();
        *hits = hits.saturating_add(1);
        if *hits != HITS {
            return Ok(());
        }
        let Some(stub) = Area::stub(self.buffer.sites.len()) else { return Ok(()) };
        // Code that the program writes, or that others see, is left alone.
        let lines = maps(stopped.tid())?;
        let private = |prot: i32| prot & libc::PROT_WRITE == 0 && prot & libc::PROT_EXEC != 0;
        let Some(line) = lines
            .iter()
            .find(|line| line.start <= site && site < line.end && !line.shared && private(line.prot))
        else {
            return Ok(());
        };
        let start = line.start.max(site.saturating_sub(AROUND));
        let code = space.memory.bytes(start, (line.end.min(site + AROUND) - start) as usize)?;
        let window = Window { address: start, bytes: &code };
        let Ok(patch) = plan(&window, site, stub, ENTRY as u64) else { return Ok(()) };
        if self.someone_stands_in(id, &patch) {
            // Perhaps not the next time.
            self.buffer.hits.insert((space.number, site), 0);
            return Ok(());
        }
        space.memory.write(site, &patch.new)?;
        if !self.clock.area().set_stub(stub, &patch.stub) {
            return Ok(());
        }
        self.buffer.sites.push(site);
        registers.set_ip(patch.traced);
        stopped.set_registers(registers)?;
        let Patch { new: code, stub: stub_code, traced, .. } = patch;
        self.log.push(Event::Patched(Patched { site, code, stub, stub_code, traced }));
        Ok(())
    }

    /// Whether a task but this one would go on in the middle of what is overwritten.
    fn someone_stands_in(&self, id: TaskId, patch: &Patch) -> bool {
        let interior: Vec<u64> = patch.interior().collect();
        let space = self.tasks[id].space.number;
        interior.iter().any(|ip| self.buffer.returned_to.contains(ip))
            || self.tasks.living().filter(|t| t.id != id && t.space.number == space).any(|t| match t.hold() {
                Hold::Ready(stopped) | Hold::Lent(stopped, _) => {
                    stopped.registers().is_ok_and(|registers| interior.contains(&registers.ip()))
                }
                Hold::Calling(_, call)
                | Hold::Again(_, call)
                | Hold::Waiting(_, call)
                | Hold::Woken(_, call, _)
                | Hold::InKernel(_, call)
                | Hold::Returned(_, call)
                | Hold::Suspended(_, Some(call)) => interior.contains(&call.registers.ip()),
                // Where it goes on is not known.
                Hold::Suspended(_, None) => true,
                Hold::Running | Hold::Gone => false,
            })
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
    pub(super) fn give_back_table(&mut self, pid: Pid) {
        self.buffer.free.extend(self.buffer.tables.remove(&pid));
        self.buffer.sharing.remove(&pid);
    }

    /// These processes share their descriptors: what one closes is closed for the other.
    pub(super) fn share_descriptors(&mut self, pids: [Pid; 2]) {
        for pid in pids {
            self.buffer.free.extend(self.buffer.tables.remove(&pid));
            self.buffer.sharing.insert(pid);
        }
    }

    /// What the buffer knows of descriptors may not hold any more: a file has been mapped.
    pub(super) fn forget_descriptors(&mut self) {
        for table in self.buffer.tables.values() {
            self.clock.area().clear_table(*table);
        }
    }

    /// Let the buffer know what a call that the kernel has made says about descriptors.
    pub(super) fn note_descriptors(&mut self, id: TaskId, call: &Call, result: i64) {
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
            _ if matches!(calls::call(call.number()).way, Way::File | Way::Write | Way::Read) => {
                let kind = self.descriptor_kind(id, fd);
                self.clock.area().set_descriptor(table, fd & 0xffff_ffff, kind);
            }
            _ => {}
        }
    }

    fn descriptor_kind(&self, id: TaskId, fd: u64) -> Descriptor {
        let tid = self.tasks[id].tid;
        match self.fds.kind(tid, fd) {
            // Whoever listens hears of each piece as it is written.
            Kind::Output(_) if self.options.listener.is_some() => Descriptor::Unknown,
            Kind::Output(Stream::Stdout) => Descriptor::Stdout,
            Kind::Output(Stream::Stderr) => Descriptor::Stderr,
            Kind::Ready if self.fds.identity(tid, fd).is_some_and(|it| self.log.mapped(it).is_none()) => {
                Descriptor::Ready
            }
            Kind::Ready => Descriptor::Unknown,
            Kind::Waitable => Descriptor::Waitable,
        }
    }
}

fn stream(descriptor: Descriptor) -> Option<Stream> {
    match descriptor {
        Descriptor::Stdout => Some(Stream::Stdout),
        Descriptor::Stderr => Some(Stream::Stderr),
        Descriptor::Unknown | Descriptor::Ready | Descriptor::Waitable => None,
    }
}
