//! Replayed calls that shape memory.

use std::ops::Range;

use super::call::failed;
use crate::error::Error;
use crate::replay::mapper::{Mapper, Place};
use crate::replay::step::Step;
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Area, PAGE, Registers, Stopped, maps, remote, set_stack_limit, unmap_around_area};

fn page_up(address: u64) -> u64 {
    address.div_ceil(PAGE).saturating_mul(PAGE)
}

impl Step<'_, '_> {
    /// mmap(2): at the recorded address.
    pub(in crate::replay) fn map(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let [_, len, prot, flags, ..] = call.args;
        let flags = flags as i32;
        let private = flags & libc::MAP_TYPE == libc::MAP_PRIVATE;
        let share = if private { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        let flags = share | flags & (libc::MAP_NORESERVE | libc::MAP_GROWSDOWN);
        self.map_at(
            stopped,
            registers,
            call,
            Place { address: call.result.cast_unsigned(), len, prot },
            flags,
        )
    }

    /// shmat(2).
    pub(in crate::replay) fn attach(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let Effect::MapFile(backing) = &call.effect else {
            return Err(self.misplaced("a segment of shared memory", &format!("{:?}", call.effect)));
        };
        let has = |flag: i32| call.args[2] & flag as u64 != 0;
        let write = if has(libc::SHM_RDONLY) { 0 } else { libc::PROT_WRITE };
        let execute = if has(libc::SHM_EXEC) { libc::PROT_EXEC } else { 0 };
        let prot = (libc::PROT_READ | write | execute) as u64;
        let place = Place { address: call.result.cast_unsigned(), len: backing.len, prot };
        self.map_at(stopped, registers, call, place, libc::MAP_SHARED)
    }

    /// shmdt(2).
    pub(in crate::replay) fn detach(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let Effect::Unmap(parts) = &call.effect else {
            return Err(self.misplaced("the parts of a segment", &format!("{:?}", call.effect)));
        };
        let stopped = self.unmap(stopped, parts)?;
        self.skip(stopped, *registers, call.result)
    }

    /// Unmap parts of memory. The task stands at a call that is not to happen.
    pub(in crate::replay) fn unmap(&self, stopped: Stopped, parts: &[(u64, u64)]) -> Result<Stopped, Error> {
        parts.iter().try_fold(stopped, |stopped, (address, len)| unmap_around_area(stopped, *address, *len))
    }

    fn map_at(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
        place: Place,
        flags: i32,
    ) -> Result<(), Error> {
        let mut mapper = Mapper::default();
        match &call.effect {
            Effect::MapFile(backing) => {
                let (files, contents) = (&mut self.live.files, &self.live.contents);
                files.map(&mut mapper, backing, place, flags, contents)?;
            }
            _ => mapper.anonymous(place, flags)?,
        }
        let stopped = mapper.run(stopped, &self.memory(), &self.live.area)?;
        self.skip(stopped, *registers, call.result)
    }

    /// The program has no memory where the shared area is: nothing is made of that at its wish.
    pub(in crate::replay) fn check_outside_area(&self, address: u64, len: u64) -> Result<(), Error> {
        // None at all stands for what is there (mremap(2)).
        if Area::overlaps(address, len.max(1)) {
            return Err(self.misplaced("memory of the program's", &format!("{len} bytes at {address:#x}")));
        }
        Ok(())
    }

    /// brk(2): the recorded heap, as anonymous memory.
    pub(in crate::replay) fn set_break(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let new = call.result.cast_unsigned();
        let space = self.state.running().space;
        let old = self.state.spaces[space].brk.replace(new).unwrap_or(new);
        let (from, to) = (page_up(old), page_up(new));
        self.check_outside_area(from.min(to), from.abs_diff(to))?;
        if to > from {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let args = [from, to - from, prot as u64, flags as u64, u64::MAX, 0];
            self.substitute(stopped, registers, call, libc::SYS_mmap as u64, args)
        } else if to < from {
            self.substitute(stopped, registers, call, libc::SYS_munmap as u64, [to, from - to, 0, 0, 0, 0])
        } else {
            self.skip(stopped, *registers, call.result)
        }
    }

    /// mremap(2): to the recorded address.
    pub(in crate::replay) fn remap(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        if let Effect::MapFile(backing) = &call.effect {
            self.live.files.prepare(backing, &self.live.contents)?;
        }
        let [old, old_len, new_len, flags, ..] = call.args;
        let result = call.result.cast_unsigned();
        self.check_outside_area(old, old_len)?;
        self.check_outside_area(result, new_len)?;
        let flags = if result == old {
            flags & !(libc::MREMAP_MAYMOVE as u64)
        } else {
            flags | (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64
        };
        let new = if result == old { call.args[4] } else { result };
        let args = [old, old_len, new_len, flags, new, 0];
        let (stopped, outcome) = remote(stopped, libc::SYS_mremap as u64, args)?;
        let stopped = if failed(outcome) { self.remap_parts(stopped, call, outcome)? } else { stopped };
        self.skip(stopped, *registers, call.result)
    }

    /// mremap(2) of what was one mapping and is several here: mappings of a file, as each is of another opened one;
    /// and kernels before 6.17 move a single one only.
    fn remap_parts(&self, stopped: Stopped, call: &Syscall, outcome: i64) -> Result<Stopped, Error> {
        let [old, old_len, new_len, flags, ..] = call.args;
        let old_end = old.saturating_add(page_up(old_len));
        let lines = maps(stopped.tid())?;
        let here = lines.iter().filter(|line| line.start < old_end && old < line.end);
        let parts: Vec<Range<u64>> = here.map(|line| line.start.max(old)..line.end.min(old_end)).collect();
        let refused = |outcome: i64| {
            let errno = std::io::Error::from_raw_os_error(i32::try_from(-outcome).unwrap_or(0));
            self.differs(format!("mremap returns {:#x}", call.result), errno.to_string())
        };
        if parts.len() < 2 {
            return Err(refused(outcome));
        }
        let (result, new_len) = (call.result.cast_unsigned(), page_up(new_len));
        let moves = flags | (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
        let mut stopped = stopped;
        for (at, part) in parts.iter().enumerate() {
            let (offset, len) = (part.start - old, part.end - part.start);
            // The last one grows; what lies behind the new end goes.
            let end = if at + 1 == parts.len() { new_len } else { new_len.min(offset + len) };
            let new_len = end.saturating_sub(offset);
            let (number, args) = if new_len == 0 {
                (libc::SYS_munmap, [part.start, len, 0, 0, 0, 0])
            } else if result == old {
                (libc::SYS_mremap, [part.start, len, new_len, 0, 0, 0])
            } else {
                (libc::SYS_mremap, [part.start, len, new_len, moves, result.saturating_add(offset), 0])
            };
            let outcome;
            (stopped, outcome) = remote(stopped, number as u64, args)?;
            if failed(outcome) {
                return Err(refused(outcome));
            }
        }
        Ok(stopped)
    }

    /// setrlimit(2), prlimit64(2): the stack grows as far as it did.
    pub(in crate::replay) fn limit_stack(&self, stopped: &Stopped, call: &Syscall) -> Result<(), Error> {
        let [first, second, third, ..] = call.args;
        let (resource, new) = match call.number as i64 {
            libc::SYS_setrlimit => (first, second),
            // Of itself: whose limits else it sets is not looked at.
            libc::SYS_prlimit64 if first == 0 => (second, third),
            _ => return Ok(()),
        };
        if resource != u64::from(libc::RLIMIT_STACK) || new == 0 || call.result != 0 {
            return Ok(());
        }
        set_stack_limit(stopped.tid(), self.memory().u64(new)?)
    }

    /// What a call changed of files that are mapped.
    pub(in crate::replay) fn change_file(&mut self, call: &Syscall) -> Result<(), Error> {
        match &call.effect {
            Effect::ChangeFile(change) => self.live.files.change(change),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_length_of_a_trace_overflows() {
        assert_eq!([0, 1, PAGE, PAGE + 1].map(page_up), [0, PAGE, PAGE, 2 * PAGE]);
        assert_eq!(page_up(u64::MAX), u64::MAX);
    }
}
