//! Injected system calls.

use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::ptrace::{Registers, Resume, Stop, Stopped, WaitStatus};
use crate::tracee::system::os;
use nix::sys::signal::{Signal, kill};
use rrtest_preload::layout::{AREA, AREA_LEN, SYS_INJECTED};

/// Has a task make a system call at the injection code in the shared area. The task must stand at the entry of a system
/// call that will not be made, and stands at another such entry afterwards; the caller must restore its registers.
///
/// # Errors
/// If the task dies; a call that fails is an ordinary result (`-errno`).
pub fn remote(task: Stopped, number: u64, args: [u64; 6]) -> Result<(Stopped, i64), Error> {
    let mut registers = task.registers()?;
    registers.set_ip(Area::CODE);
    call(task, registers, number, args)
}

/// Has a task unmap a range of its memory, except the shared area. The task must stand as for [`remote`].
///
/// # Errors
/// If the task dies.
pub fn unmap_around_area(task: Stopped, address: u64, len: u64) -> Result<Stopped, Error> {
    let (end, area_end) = (address.saturating_add(len), (AREA + AREA_LEN) as u64);
    let mut task = task;
    for part in [address..end.min(AREA as u64), address.max(area_end)..end] {
        if !part.is_empty() {
            let args = [part.start, part.end - part.start, 0, 0, 0, 0];
            (task, _) = remote(task, libc::SYS_munmap as u64, args)?;
        }
    }
    Ok(task)
}

/// Has a task make a system call as [`remote`] does, with the injection code at the instruction pointer in `registers`.
pub(in crate::tracee) fn call(
    task: Stopped,
    mut registers: Registers,
    number: u64,
    args: [u64; 6],
) -> Result<(Stopped, i64), Error> {
    registers.set_number(u64::MAX);
    registers.set_result(number.cast_signed());
    registers.set_args(args);
    task.set_registers(&registers)?;
    let mut made = false;
    // Where the filter has it stop, it is this one, once.
    let is_asked_for = |stopped: &Registers| {
        !std::mem::replace(&mut made, true) && stopped.number() == number && stopped.args() == args
    };
    finish(task, is_asked_for, || format!("make system call {number}"))
}

/// Does something with a task during which its signals stay pending: the kernel delivers signals on the way back from
/// each injected call, where they would be lost.
///
/// # Errors
/// Any error of `run`, or if the task has been killed.
pub fn with_signals_blocked<T>(
    task: Stopped,
    run: impl FnOnce(Stopped) -> Result<(Stopped, T), Error>,
) -> Result<(Stopped, T), Error> {
    let mask = task.signal_mask()?;
    task.set_signal_mask(u64::MAX)?;
    let (task, result) = run(task)?;
    task.set_signal_mask(mask)?;
    Ok((task, result))
}

/// Runs the injection code to its end. Returns rdi. Calls on the way that stop are made if `is_asked_for` says so of
/// the registers at their entries. `what` says what it does. Signals are lost unless they are
/// [blocked](with_signals_blocked).
pub(in crate::tracee) fn finish(
    task: Stopped,
    mut is_asked_for: impl FnMut(&Registers) -> bool,
    what: impl FnOnce() -> String,
) -> Result<(Stopped, i64), Error> {
    let mut task = task;
    let mut to_stop = false;
    loop {
        match task.resume(Resume::Freely, 0)?.wait_soon()? {
            WaitStatus::Stopped(stopped, Stop::Seccomp) => {
                let registers = stopped.registers()?;
                if registers.number() == SYS_INJECTED as u64 {
                    if to_stop {
                        kill(stopped.tid(), Signal::SIGSTOP)
                            .map_err(|e| os("stop a driven process")(e.into()))?;
                    }
                    return Ok((stopped, registers.args()[0].cast_signed()));
                }
                if !is_asked_for(&registers) {
                    let other = format!("it makes system call {} instead", registers.number());
                    return Err(os(format!("{} in a driven process", what()))(std::io::Error::other(other)));
                }
                task = stopped;
            }
            // It cannot be blocked. The process stops once it goes on by itself.
            WaitStatus::Stopped(stopped, Stop::Signal(libc::SIGSTOP)) => (task, to_stop) = (stopped, true),
            WaitStatus::Stopped(stopped, _) => task = stopped,
            WaitStatus::Dead(death) => {
                return Err(Error::Gone { what: format!("{} in a driven process ({death:?})", what()) });
            }
        }
    }
}
