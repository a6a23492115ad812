//! Calls that change the address space.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::unistd::Pid;

use crate::record::in_process::known_code::Mapped;
use crate::record::journal::Journal;
use crate::record::kernel::fds;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome};
use crate::syscalls::changes_contents;
use crate::task::TaskId;
use crate::trace::event::Effect;
use crate::trace::log::inodes::{Part, identity, sealed};
use crate::tracee::{
    Area, Fd, Line, PAGE, Stopped, TASK_SIZE, locked, maps, os, unmap_around_area, with_signals_blocked,
};

/// Whether a call failed.
fn failed(result: i64) -> bool {
    (-4095..0).contains(&result)
}

impl Recorder<'_> {
    /// mmap(2). Puts the contents of a mapped file into the trace.
    pub(in crate::record) fn map(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        /// Memory whose contents the kernel may drop at any time (linux/mman.h). Older kernels do not have it.
        const MAP_DROPPABLE: i32 = 8;
        let [address, len, prot, flags, fd, offset] = call.args();
        let flags = flags as i32;
        if flags & libc::MAP_FIXED != 0 && Area::overlaps(address, len) {
            return self.skip(id, stopped, call, Outcome::fails(libc::ENOMEM));
        }
        if flags & libc::MAP_TYPE == MAP_DROPPABLE {
            return self.skip(id, stopped, call, Outcome::fails(libc::EINVAL));
        }
        let shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
        let file = (flags & libc::MAP_ANONYMOUS == 0).then(|| self.poller.metadata(&self.tasks, id, fd));
        if file.as_ref().is_some_and(|file| file.as_ref().is_ok_and(|it| it.file_type().is_socket())) {
            // Fails like a socket that does not support mmap. Sockets that do would show packets as they arrive
            // (packet(7), tcp(7)).
            return self.skip(id, stopped, call, Outcome::fails(libc::ENODEV));
        }
        let elsewhere = self.surprises.placed(call);
        if let Some(registers) = &elsewhere {
            stopped.set_registers(registers)?;
        }
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        if elsewhere.is_some() {
            let mut registers = stopped.registers()?;
            registers.set_args(call.args());
            stopped.set_registers(&registers)?;
        }
        self.futexes.keys.made |= shared;
        if shared && flags & libc::MAP_ANONYMOUS == 0 {
            self.time.stamped.note_shared_file(&self.clock, &self.time.clocks)?;
        }
        let mut mapped = None;
        let effect = if failed(result) && flags & libc::MAP_FIXED != 0 {
            room_made(stopped.tid(), &[(address, len)])?
        } else if let Some(file) = file.filter(|_| !failed(result)) {
            let file = file.map_err(os(format!("look at descriptor {} of {}", fd as i32, stopped.tid())))?;
            let is_new = self.journal.log.mapped(identity(&file)).is_none();
            let part = Part { offset, len, stored: shared };
            let effect = self.map_file(id, fd, &file, part)?;
            if effect != Effect::None {
                mapped = Some(identity(&file));
                if is_new {
                    self.code.buffer.forget_descriptors(&self.clock);
                }
            }
            effect
        } else {
            Effect::None
        };
        let is_code = prot as i32 & (libc::PROT_WRITE | libc::PROT_EXEC) == libc::PROT_EXEC && !shared;
        let next = self.finish(id, stopped, call, Outcome::result(result).with(effect))?;
        let code = mapped.filter(|_| is_code).and_then(|file| self.journal.log.mapped(file));
        if let Some(Ok(file)) = code.map(File::try_clone) {
            let mapped = Mapped { start: result.cast_unsigned(), len, offset, file: &file, linker: false };
            let ahead = self.scheduler.start_up.is_none();
            self.code.replace_in(&self.tasks, &self.clock, &mut self.journal, id, &mapped, ahead)?;
        }
        Ok(next)
    }

    /// Takes a file that a task has mapped into the log. Parts that the task can write to through the mapping are
    /// stored.
    fn map_file(&mut self, id: TaskId, fd: u64, metadata: &Metadata, part: Part) -> Flow<Effect> {
        if metadata.file_type().is_char_device() && metadata.rdev() == libc::makedev(1, 5) {
            // /dev/zero (null(4)): anonymous memory.
            return Ok(Effect::None);
        }
        let tid = self.tasks[id].tid;
        let shown = Fd::argument(tid, fd);
        let name = shown.link().unwrap_or_else(|_| shown.path());
        let failed = |error: io::Error| format!("mmap of `{}` ({error})", name.display());
        // The log has an open file description of its own, not the program's with its offset.
        let file = match self.journal.log.mapped(identity(metadata)) {
            Some(file) => file.try_clone(),
            None => shown.open(),
        };
        let file = match file {
            Ok(file) => file,
            Err(error) => return self.tasks.unsupported(id, failed(error)),
        };
        let writable = || fds::flags(tid, fd) & libc::O_ACCMODE == libc::O_RDWR && !sealed(&file);
        let part = Part { stored: part.stored && writable(), ..part };
        match self.journal.log.map(&name, file, part) {
            Ok(backing) => Ok(Effect::MapFile(backing)),
            Err(error) => self.tasks.unsupported(id, failed(error)),
        }
    }

    /// mremap(2). A mapping that grows shows more of its file.
    pub(in crate::record) fn remap(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let [old, old_len, new_len, flags, new, _] = call.args();
        let fixed = flags & libc::MREMAP_FIXED as u64 != 0;
        if Area::overlaps(old, old_len) || fixed && Area::overlaps(new, new_len) {
            return self.skip(id, stopped, call, Outcome::fails(libc::EFAULT));
        }
        let line = if new_len > old_len { line_of(stopped.tid(), old)? } else { None };
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        let effect = match line.filter(|line| line.inode != 0 && !failed(result)) {
            Some(line) => self.journal.map_more(&line, line.offset + (old - line.start), new_len)?,
            None if failed(result) && fixed => room_made(stopped.tid(), &[(old, old_len), (new, new_len)])?,
            None => Effect::None,
        };
        self.finish(id, stopped, call, Outcome::result(result).with(effect))
    }

    /// shmat(2).
    pub(in crate::record) fn attach(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        if Area::overlaps(call.args()[1], 1) {
            return self.skip(id, stopped, call, Outcome::fails(libc::EINVAL));
        }
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        self.futexes.keys.made = true;
        if !failed(result) {
            self.time.ipc.note_ipc(self.options, &self.time.clocks, call, result)?;
        }
        let line = if failed(result) { None } else { line_of(stopped.tid(), result.cast_unsigned())? };
        let effect = match line {
            Some(line) => {
                let len = line.end - line.start;
                let memory = &self.tasks.space(id).memory;
                let contents = || memory.bytes(line.start, len as usize);
                Effect::MapFile(self.journal.log.map_segment((line.dev, line.inode), len, contents)?)
            }
            None => Effect::None,
        };
        self.finish(id, stopped, call, Outcome::result(result).with(effect))
    }

    /// shmdt(2).
    pub(in crate::record) fn detach(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        let before = maps(stopped.tid())?;
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        if failed(result) {
            return self.finish(id, stopped, call, Outcome::result(result));
        }
        // Parts of the segment may have been unmapped before, and other memory mapped there.
        let gone = gone(&before, &maps(stopped.tid())?);
        let segment = before.iter().find(|line| gone.first().is_some_and(|(start, _)| line.start == *start));
        if let Some(segment) = segment {
            // The inode is the segment's id (`newseg`, ipc/shm.c).
            self.time.ipc.note_detached(self.options, &self.time.clocks, segment.inode)?;
        }
        self.finish(id, stopped, call, Outcome::result(result).with(Effect::Unmap(gone)))
    }

    /// madvise(2). Refuses advice whose effect on contents depends on the kernel, like a kernel too old to know it.
    pub(in crate::record) fn advise(&mut self, id: TaskId, stopped: Stopped, call: &Call) -> Flow<Next> {
        /// Advice that older kernels do not know either (linux/mman.h).
        const DONTNEED_LOCKED: i32 = 24;
        const GUARD_INSTALL: i32 = 102;
        const GUARD_REMOVE: i32 = 103;
        let [address, len, advice, ..] = call.args();
        match advice as i32 {
            libc::MADV_FREE | DONTNEED_LOCKED | GUARD_INSTALL | GUARD_REMOVE => {
                self.skip(id, stopped, call, Outcome::fails(libc::EINVAL))
            }
            _ if Area::overlaps(address, len) => self.skip(id, stopped, call, Outcome::fails(libc::ENOMEM)),
            _ => {
                let (stopped, result) = self.run_to_exit(id, stopped)?;
                let effect = if failed(result) && changes_contents(advice) {
                    Effect::Advised(advised(stopped.tid(), address, len, result)?)
                } else {
                    Effect::None
                };
                self.finish(id, stopped, call, Outcome::result(result).with(effect))
            }
        }
    }
}

impl Journal {
    /// Takes more of a mapped file into the log. Shared memory without a file has no contents that replay does not
    /// know.
    fn map_more(&mut self, line: &Line, offset: u64, len: u64) -> Flow<Effect> {
        let file = match self.log.mapped((line.dev, line.inode)) {
            Some(file) => file.try_clone(),
            None => File::open(&line.path),
        };
        let Ok(file) = file else { return Ok(Effect::None) };
        let backing = self.log.map(&line.path, file, Part { offset, len, stored: false });
        let what = || format!("read `{}`, which the program maps", line.path.display());
        Ok(Effect::MapFile(backing.map_err(os(what()))?))
    }
}

impl Recorder<'_> {
    /// Makes munmap(2) and mprotect(2) on memory that overlaps the shared area: the program must find nothing there.
    pub(in crate::record) fn repeat_around(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
    ) -> Flow<Next> {
        let [address, len, ..] = call.args();
        if call.number() != libc::SYS_munmap as u64 || !address.is_multiple_of(PAGE) {
            return self.skip(id, stopped, call, Outcome::fails(libc::ENOMEM));
        }
        let (stopped, ()) =
            with_signals_blocked(stopped, |stopped| Ok((unmap_around_area(stopped, address, len)?, ())))?;
        self.skip(id, stopped, call, Outcome::result(0))
    }
}

/// Returns how far failed advice has got (madvise(2)). The kernel goes from mapping to mapping, skipping holes, which
/// it reports by `ENOMEM` in the end, up to the first mapping that rejects the advice. In replay nothing is locked, so
/// mappings that reject it because they are locked would accept it there.
fn advised(tid: Pid, address: u64, len: u64, result: i64) -> Flow<u64> {
    if result != -i64::from(libc::EINVAL) {
        return Ok(len);
    }
    let end = address.saturating_add(len);
    let locked = locked(tid)?.into_iter().find(|range| range.start < end && address < range.end);
    Ok(locked.map_or(len, |range| range.start.saturating_sub(address)))
}

/// Returns the parts of these ranges that are not mapped after a failed call, which may have unmapped memory first.
fn room_made(tid: Pid, parts: &[(u64, u64)]) -> Flow<Effect> {
    let mapped = maps(tid)?;
    let mut holes = Vec::new();
    for &(start, len) in parts {
        let (mut at, end) = (start, start.saturating_add(len).min(TASK_SIZE));
        for line in mapped.iter().filter(|line| start < line.end && line.start < end) {
            holes.push((at, line.start.saturating_sub(at)));
            at = line.end;
        }
        holes.push((at, end.saturating_sub(at)));
    }
    holes.retain(|(_, len)| *len > 0);
    Ok(if holes.is_empty() { Effect::None } else { Effect::Unmap(holes) })
}

/// Returns the mappings that no longer exist.
fn gone(before: &[Line], after: &[Line]) -> Vec<(u64, u64)> {
    let is_there =
        |line: &&Line| !after.iter().any(|other| other.start <= line.start && line.end <= other.end);
    before.iter().filter(is_there).map(|line| (line.start, line.end - line.start)).collect()
}

/// Returns the mapping that contains an address.
fn line_of(tid: Pid, address: u64) -> Flow<Option<Line>> {
    let lines = maps(tid)?;
    Ok(lines.into_iter().find(|line| (line.start..line.end).contains(&address)))
}
