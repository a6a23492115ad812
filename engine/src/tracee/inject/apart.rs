//! Injected system calls that leave the task where it was.

use rrtest_preload::layout::{DESCRIPTORS, DESCRIPTORS_LEN, DESCRIPTORS_MOST};

use super::remote::{remote, with_signals_blocked};
use crate::Error;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Stopped;

/// Has a task make a system call, and puts it back where it was. Signals stay pending.
///
/// If it stands at the entry of a call, it makes that call when it goes on, as it would have.
pub(in crate::tracee) fn apart(task: Stopped, number: u64, args: [u64; 6]) -> Result<(Stopped, i64), Error> {
    let mut registers = task.registers()?;
    if !task.at_entry()? {
        registers.set_number(u64::MAX);
    }
    with_signals_blocked(task, |task| {
        let (task, result) = remote(task, number, args)?;
        task.set_registers(&registers)?;
        Ok((task, result))
    })
}

/// Makes a task's process ignore a signal again that the kernel has reset because an instruction raised it. Other flags
/// are kept. The task may stand anywhere.
///
/// # Errors
/// If the task dies.
pub fn ignore_again(task: Stopped, memory: &Memory, signal: i32) -> Result<Stopped, Error> {
    /// The far end of the stack of the buffer's code, which never gets that far.
    const PLACE: u64 = (DESCRIPTORS + DESCRIPTORS_LEN * DESCRIPTORS_MOST) as u64;
    /// Bytes of the kernel's signal set.
    const SET: u64 = 8;
    let call =
        |task, new, old| apart(task, libc::SYS_rt_sigaction as u64, [signal as u64, new, old, SET, 0, 0]);
    let (task, _) = call(task, 0, PLACE)?;
    memory.write(PLACE, &(libc::SIG_IGN as u64).to_ne_bytes())?;
    Ok(call(task, PLACE, 0)?.0)
}
