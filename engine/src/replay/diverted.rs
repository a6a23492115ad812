//! A replay that has left its trace: one of its tasks executes what nobody recorded, such as a function that somebody
//! at a debugger asks for. What it comes to has never happened, and nothing of it reaches the outside.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::planted::Planted;
use super::session::Session;
use crate::error::Error;
use crate::task::TaskId;
use crate::tracee::{
    Memory, Registers, Resume, Running, Stop, Stopped, VectorRegisters, WaitStatus, Waited, to_exit,
};

/// A session that has left its trace for good. Its other tasks stand still.
#[derive(Debug)]
pub struct Diverted<'a> {
    /// Keeps all processes alive.
    session: Session<'a>,
    memory: Rc<Memory>,
    /// The task that goes on; none once it has ended.
    stopped: Option<Stopped>,
    /// What the program has written to its standard output and error since somebody last asked.
    output: Vec<u8>,
}

/// Where a diverted task has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It has come to this address, at which there is a breakpoint.
    Breakpoint(u64),
    /// It has executed an instruction.
    Stepped,
    /// It has got this signal.
    Signal(i32),
    /// It waits for another task, in the call with this number.
    Waits(u64),
    /// It was asked to stop.
    Interrupted,
    /// It has ended.
    Ended,
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The kernel makes it: it concerns nothing but the task's memory, or tells the time.
    Kernel,
    /// As [`Self::Kernel`] unless a file is mapped.
    Map,
    /// It returns 0, and nothing is done.
    Nothing,
    /// What is written to standard output and error is shown.
    Write,
    /// A wake wakes nobody, a wait would be for somebody who stands still.
    Futex,
    /// A signal for the task itself.
    Signal,
    /// The task ends.
    End,
}

/// All other calls fail with ENOSYS.
const ANSWERS: [(i64, Answer); 17] = [
    (libc::SYS_brk, Answer::Kernel),
    (libc::SYS_mmap, Answer::Map),
    (libc::SYS_munmap, Answer::Kernel),
    (libc::SYS_mremap, Answer::Kernel),
    (libc::SYS_mprotect, Answer::Kernel),
    (libc::SYS_madvise, Answer::Kernel),
    (libc::SYS_clock_gettime, Answer::Kernel),
    (libc::SYS_gettimeofday, Answer::Kernel),
    (libc::SYS_getrandom, Answer::Kernel),
    (libc::SYS_sched_yield, Answer::Nothing),
    (libc::SYS_rt_sigprocmask, Answer::Nothing),
    (libc::SYS_write, Answer::Write),
    (libc::SYS_futex, Answer::Futex),
    (libc::SYS_tgkill, Answer::Signal),
    (libc::SYS_tkill, Answer::Signal),
    (libc::SYS_exit, Answer::End),
    (libc::SYS_exit_group, Answer::End),
];

/// So much of what a call writes is shown at most.
const MOST_SHOWN: usize = 1 << 20;

impl<'a> Session<'a> {
    /// Has a task leave the trace. None if there is no such task (any more).
    ///
    /// # Errors
    /// If the task has died, or makes a call where it should wait.
    pub fn divert(mut self, task: TaskId) -> Result<Option<Diverted<'a>>, Error> {
        let Some(registers) = self.registers(task)? else { return Ok(None) };
        let Some((stopped, memory)) = self.take_out(task)? else { return Ok(None) };
        set(&stopped, registers)?;
        Ok(Some(Diverted { session: self, memory, stopped: Some(stopped), output: Vec::new() }))
    }
}

/// Gives a task registers with which it goes on: it is not within a call any more.
fn set(stopped: &Stopped, mut registers: Registers) -> Result<(), Error> {
    registers.set_number(u64::MAX);
    stopped.set_registers(&registers)
}

impl Diverted<'_> {
    /// Returns the task's registers; none once it has ended.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn registers(&self) -> Result<Option<Registers>, Error> {
        self.stopped.as_ref().map(Stopped::registers).transpose()
    }

    /// Returns the task's floating-point and vector registers; none once it has ended.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn vector_registers(&self) -> Result<Option<VectorRegisters>, Error> {
        self.stopped.as_ref().map(Stopped::vector_registers).transpose()
    }

    /// Gives the task other registers.
    ///
    /// # Errors
    /// If the task has been killed, or the kernel refuses a value.
    pub fn set_registers(&self, registers: &Registers) -> Result<(), Error> {
        self.stopped.as_ref().map_or(Ok(()), |stopped| set(stopped, *registers))
    }

    /// Gives the task another value in one of the sixteen SSE registers.
    ///
    /// # Errors
    /// If the task has been killed.
    pub fn set_xmm(&self, number: usize, value: [u8; 16]) -> Result<(), Error> {
        self.stopped.as_ref().map_or(Ok(()), |stopped| stopped.set_xmm(number, value))
    }

    /// Reads memory.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn read(&self, address: u64, len: usize) -> Result<Vec<u8>, Error> {
        self.memory.bytes(address, len)
    }

    /// Writes memory.
    ///
    /// # Errors
    /// If not all of it is mapped.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        self.memory.write(address, bytes)
    }

    /// Returns what the program has written to its standard output and error since the last time.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Has the task go on until something happens; with `steps`, for an instruction at most. It can be asked to stop by
    /// the flag with which the session was made.
    ///
    /// # Errors
    /// If the kernel refuses something.
    pub fn run(&mut self, breakpoints: &[u64], steps: bool) -> Result<Came, Error> {
        let Some(mut stopped) = self.stopped.take() else { return Ok(Came::Ended) };
        let mut is_first = true;
        loop {
            let ip = stopped.registers()?.ip();
            // It gets past a breakpoint at which it stands by a step.
            let how = if steps || is_first { Resume::Step } else { Resume::Freely };
            is_first = false;
            let places = if how == Resume::Step { Vec::new() } else { breakpoints.to_vec() };
            let mut planted = Planted::plant(&self.memory, places);
            let running = stopped.resume(how, 0)?;
            let Some((back, stop, is_asked)) = wait(running, self.session.stop_flag())? else {
                return Ok(Came::Ended);
            };
            stopped = back;
            planted.take_out(&self.memory);
            let registers = stopped.registers()?;
            let came = match stop {
                Stop::Seccomp => match self.call(stopped, registers)? {
                    (None, _) => return Ok(Came::Ended),
                    (Some(back), came) => {
                        stopped = back;
                        came
                    }
                },
                Stop::Signal(libc::SIGTRAP) => match planted.stopped_at(registers.ip()) {
                    Some(place) => {
                        let mut registers = registers;
                        registers.set_ip(place);
                        set(&stopped, registers)?;
                        Some(Came::Breakpoint(place))
                    }
                    None if how == Resume::Step => steps.then_some(Came::Stepped),
                    None => Some(Came::Signal(libc::SIGTRAP)),
                },
                Stop::Signal(signal) => Some(Came::Signal(signal)),
                _ => None,
            };
            let here = stopped.registers()?.ip();
            let came = came.or_else(|| {
                let stands = here != ip && breakpoints.contains(&here);
                stands.then_some(Came::Breakpoint(here))
            });
            if let Some(came) = came.or(is_asked.then_some(Came::Interrupted)) {
                self.stopped = Some(stopped);
                return Ok(came);
            }
        }
    }

    /// Answers a call. Returns the task behind it, unless it has ended, and what is to be told.
    fn call(
        &mut self,
        stopped: Stopped,
        mut registers: Registers,
    ) -> Result<(Option<Stopped>, Option<Came>), Error> {
        /// FUTEX_WAKE (futex(2)), and the flags that do not matter.
        const WAKE: u64 = 1;
        const FLAGS: u64 = (libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u64;
        let number = registers.number();
        let args = registers.args();
        let found = ANSWERS.iter().find(|(call, _)| *call == number.cast_signed());
        let (result, came) = match found.map(|(_, answer)| *answer) {
            Some(Answer::Kernel) => return self.by_kernel(stopped),
            Some(Answer::Map) if args[3] & libc::MAP_ANONYMOUS as u64 != 0 => return self.by_kernel(stopped),
            Some(Answer::Nothing) => (0, None),
            Some(Answer::Write) if matches!(args[0], 1 | 2) => {
                let len = usize::try_from(args[2]).unwrap_or(MOST_SHOWN).min(MOST_SHOWN);
                let shown = self.memory.available(args[1], len);
                self.output.extend(&shown);
                (shown.len() as i64, None)
            }
            Some(Answer::Futex) if args[1] & !FLAGS == WAKE => (0, None),
            Some(Answer::Futex) => (-i64::from(libc::EINTR), Some(Came::Waits(number))),
            Some(Answer::Signal) => {
                let signal = if number == libc::SYS_tgkill as u64 { args[2] } else { args[1] };
                (0, Some(Came::Signal(signal as i32)))
            }
            Some(Answer::End) => return Ok((None, None)),
            Some(Answer::Map | Answer::Write) | None => (-i64::from(libc::ENOSYS), None),
        };
        registers.set_result(result);
        set(&stopped, registers)?;
        Ok((Some(stopped), came))
    }

    fn by_kernel(&self, stopped: Stopped) -> Result<(Option<Stopped>, Option<Came>), Error> {
        let stop = self.session.stop_flag();
        let next = |stopped: Stopped| {
            let back = wait(stopped.resume(Resume::ToSyscallExit, 0)?, stop)?;
            back.map(|(stopped, stop, _)| (stopped, stop)).ok_or_else(ended_within)
        };
        to_exit(stopped, next).map(|(stopped, _)| (Some(stopped), None))
    }
}

fn ended_within() -> Error {
    Error::Bug { what: "a diverted task has ended within a call".to_owned() }
}

/// Waits for a task's next stop; asks for it once the flag is set, and then says so. None if the task has ended.
fn wait(running: Running, stop: &AtomicBool) -> Result<Option<(Stopped, Stop, bool)>, Error> {
    let mut is_asked = false;
    loop {
        match running.wait()? {
            Waited::Done(WaitStatus::Stopped(stopped, stop)) => return Ok(Some((stopped, stop, is_asked))),
            Waited::Done(WaitStatus::Dead(_)) => return Ok(None),
            Waited::NotYet if !is_asked && stop.load(Ordering::Relaxed) => {
                is_asked = true;
                running.interrupt();
            }
            Waited::NotYet => {}
        }
    }
}
