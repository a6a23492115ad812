//! Replayed system calls.

use crate::error::Error;
use crate::replay::state::At;
use crate::replay::step::{Flow, Step};
use crate::syscalls::{self, Class, Performance, describe};
use crate::trace::event::{Effect, Syscall};
use crate::tracee::{Area, Registers, Stopped, THREAD_NAME, remote, unmap_around_area};

/// Whether a call returned an error (errno values are 1 to 4095: syscall(2)).
pub(in crate::replay) fn failed(result: i64) -> bool {
    (-4095..0).contains(&result)
}

impl Step<'_, '_> {
    /// The running task makes this call, with this outcome.
    pub(in crate::replay) fn syscall(&mut self, call: &Syscall) -> Flow<()> {
        let (stopped, registers) = self.reach_call()?;
        if registers.number() != call.number || registers.args() != call.args {
            let show = |number, args: [u64; 6]| {
                format!("{}({})", syscalls::name(number), args.map(|arg| format!("{arg:#x}")).join(", "))
            };
            let found = show(registers.number(), registers.args());
            return Err(self.differs(show(call.number, call.args), found).into());
        }
        self.check(&call.position, &registers)?;
        self.check_given(call)?;
        self.check_names(call)?;
        Ok(self.apply_call(stopped, registers, call)?)
    }

    /// The running task stands at the entry of this call: what comes of it.
    fn apply_call(&mut self, stopped: Stopped, registers: Registers, call: &Syscall) -> Result<(), Error> {
        let class =
            describe(call.number).map(|description| description.class_for(&self.memory(), &call.args));
        match class {
            Some(Class::Performed(performance)) if !failed(call.result) => {
                self.perform(stopped, &registers, call, performance)
            }
            Some(Class::Performed(_)) if !matches!(call.effect, Effect::None) => {
                self.fail(stopped, registers, call)
            }
            _ => {
                self.write(call)?;
                self.change_file(call)?;
                self.limit_stack(&stopped, call)?;
                self.output(call);
                self.note_name(call);
                self.skip(stopped, registers, call.result)
            }
        }
    }

    /// What the kernel wrote.
    pub(in crate::replay) fn write(&self, call: &Syscall) -> Result<(), Error> {
        let memory = &self.live.memories[self.state.running().space];
        call.writes.iter().try_for_each(|write| self.put(memory, write.address, &write.bytes))
    }

    fn output(&mut self, call: &Syscall) {
        if let Effect::Output(stream, bytes) = &call.effect {
            (self.control.output)(*stream, bytes);
        }
    }

    fn note_name(&mut self, call: &Syscall) {
        if call.number == libc::SYS_prctl as u64
            && call.args[0] as i32 == libc::PR_SET_NAME
            && call.result == 0
        {
            self.state.running_mut().name = self.memory().text(call.args[1], THREAD_NAME);
        }
    }

    /// The call does not reach the kernel.
    pub(in crate::replay) fn skip(
        &mut self,
        stopped: Stopped,
        mut registers: Registers,
        result: i64,
    ) -> Result<(), Error> {
        registers.set_number(u64::MAX);
        registers.set_result(result);
        stopped.set_registers(&registers)?;
        self.ready(stopped);
        Ok(())
    }

    /// The call, or one in its place, reaches the kernel.
    fn perform(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
        performance: Performance,
    ) -> Result<(), Error> {
        let [a, b, c, ..] = call.args;
        match performance {
            Performance::Same => self.substitute(stopped, registers, call, call.number, call.args),
            Performance::Repeat if Area::overlaps(a, b) => {
                let stopped = unmap_around_area(stopped, a, b)?;
                self.skip(stopped, *registers, call.result)
            }
            Performance::Repeat => {
                self.hold(self.state.current, stopped, At::Repeating);
                Ok(())
            }
            Performance::Map => self.map(stopped, registers, call),
            Performance::Remap => self.remap(stopped, registers, call),
            Performance::Attach => self.attach(stopped, registers, call),
            Performance::Detach => self.detach(stopped, registers, call),
            Performance::Break => self.set_break(stopped, registers, call),
            Performance::Advise => {
                if syscalls::changes_contents(c) {
                    self.check_outside_area(a, b)?;
                    self.substitute(stopped, registers, call, call.number, call.args)
                } else {
                    self.skip(stopped, *registers, call.result)
                }
            }
            Performance::Clone => self.clone_task(stopped, registers, call),
            Performance::Execute => self.execute(stopped, call),
            Performance::SignalReturn => self.signal_return(stopped, *registers),
            Performance::Exit => {
                self.write(call)?;
                self.exit(stopped, (a & 0xff) as i32)
            }
            Performance::ExitGroup => {
                self.write(call)?;
                self.exit_group(stopped, (a & 0xff) as i32)
            }
        }
    }

    /// The call fails, but not without an effect.
    fn fail(&mut self, stopped: Stopped, registers: Registers, call: &Syscall) -> Result<(), Error> {
        let [address, _, advice, ..] = call.args;
        let stopped = match &call.effect {
            Effect::Unmap(parts) => self.unmap(stopped, parts)?,
            Effect::Advised(len) if syscalls::changes_contents(advice) => {
                self.check_outside_area(address, *len)?;
                // It fails here as it did there.
                remote(stopped, libc::SYS_madvise as u64, [address, *len, advice, 0, 0, 0])?.0
            }
            other => return Err(self.misplaced("an effect of a call that fails", &format!("{other:?}"))),
        };
        self.skip(stopped, registers, call.result)
    }

    /// Have the kernel do another call in place of the program's; the program sees the recorded result.
    pub(in crate::replay) fn substitute(
        &mut self,
        stopped: Stopped,
        registers: &Registers,
        call: &Syscall,
        number: u64,
        args: [u64; 6],
    ) -> Result<(), Error> {
        let mut changed = *registers;
        changed.set_number(number);
        changed.set_args(args);
        stopped.set_registers(&changed)?;
        let (stopped, result) = self.run_to_exit(stopped)?;
        if failed(result) {
            let errno = std::io::Error::from_raw_os_error((-result).try_into().unwrap_or(0));
            let expected = format!("{} returns {:#x}", syscalls::name(call.number), call.result);
            return Err(self.differs(expected, errno.to_string()));
        }
        self.write(call)?;
        let mut after = *registers;
        after.set_number(u64::MAX);
        after.set_result(call.result);
        // arch_prctl(2) changes a register.
        let now = stopped.registers()?;
        after.copy_segments(&now);
        stopped.set_registers(&after)?;
        self.ready(stopped);
        Ok(())
    }
}
