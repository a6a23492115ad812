//! Reads of the time-stamp counter, which fault while the program may not read it (prctl(2), `PR_SET_TSC`).

use crate::Error;
use crate::tracee::{Memory, Registers, Stopped};

/// An instruction that reads the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterRead {
    /// rdtsc
    Rdtsc,
    /// rdtscp, which also gives the core's number
    Rdtscp,
}

/// The instruction at `ip`, if it is one that reads the counter.
#[must_use]
pub fn counter_read(memory: &Memory, ip: u64) -> Option<CounterRead> {
    match memory.available(ip, 3)[..] {
        [0x0f, 0x31, ..] => Some(CounterRead::Rdtsc),
        [0x0f, 0x01, 0xf9] => Some(CounterRead::Rdtscp),
        _ => None,
    }
}

/// The counter.
#[must_use]
pub fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the recorder may execute it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

impl Registers {
    /// What the registers are after the instruction has read `value`.
    pub fn finish_counter_read(&mut self, read: CounterRead, value: u64) {
        self.set_result((value & 0xffff_ffff).cast_signed());
        self.set_rdx(value >> 32);
        let length = match read {
            CounterRead::Rdtsc => 2,
            CounterRead::Rdtscp => {
                self.set_rcx(0);
                3
            }
        };
        self.set_ip(self.ip() + length);
    }

    /// Turn the call at whose entry a task stands into one that lets it read the counter. The registers are to be
    /// restored at the call's exit.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn free_counter(&self, task: &Stopped) -> Result<(), Error> {
        let mut registers = *self;
        registers.set_number(libc::SYS_prctl as u64);
        registers.set_args([libc::PR_SET_TSC as u64, libc::PR_TSC_ENABLE as u64, 0, 0, 0, 0]);
        task.set_registers(&registers)
    }
}
