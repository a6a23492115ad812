//! Replayed calls that shape memory.

use super::mapper::{Mapper, Place};
use super::replayer::Replayer;
use crate::error::Error;
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Registers, Stopped, set_stack_limit};

impl Replayer<'_> {
    /// mmap(2): at the recorded address.
    pub(super) fn map(
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
    pub(super) fn attach(
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
    pub(super) fn detach(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        let Effect::Unmap(len) = call.effect else {
            return Err(self.misplaced("the length of a segment", &format!("{:?}", call.effect)));
        };
        let args = [call.args[0], len, 0, 0, 0, 0];
        self.substitute(stopped, registers, call, libc::SYS_munmap as u64, args)
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
            Effect::MapFile(backing) => self.files.map(&mut mapper, backing, place, flags, self.trace)?,
            _ => mapper.anonymous(place, flags)?,
        }
        let stopped = mapper.run(stopped, &self.space().memory)?;
        self.skip(stopped, *registers, call.result)
    }

    /// mremap(2): to the recorded address.
    pub(super) fn remap(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
    ) -> Result<(), Error> {
        if let Effect::MapFile(backing) = &call.effect {
            self.files.prepare(backing, self.trace)?;
        }
        let mut args = call.args;
        let result = call.result.cast_unsigned();
        if result == args[0] {
            args[3] &= !(libc::MREMAP_MAYMOVE as u64);
        } else {
            args[3] |= (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
            args[4] = result;
        }
        self.substitute(stopped, registers, call, libc::SYS_mremap as u64, args)
    }

    /// setrlimit(2), prlimit64(2): the stack grows as far as it did.
    pub(super) fn limit_stack(&self, stopped: &Stopped, call: &Syscall) -> Result<(), Error> {
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
        set_stack_limit(stopped.tid(), self.space().memory.u64(new)?)
    }

    /// What a call changed of files that are mapped.
    pub(super) fn change_file(&mut self, call: &Syscall) -> Result<(), Error> {
        match &call.effect {
            Effect::ChangeFile(change) => self.files.change(change),
            _ => Ok(()),
        }
    }
}
