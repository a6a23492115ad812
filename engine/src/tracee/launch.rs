//! Starting the program to record.

use std::path::Path;

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::program::Program;
use crate::tracee::fork::{Arguments, Then, area_fd, fork_traced};
use crate::tracee::remote::call;
use crate::tracee::{Area, Leash, Memory, Resume, Stdin, Stop, Stopped, Wait};

/// A program that stands before its first instruction.
#[derive(Debug)]
pub struct Launched {
    /// Its only task. Resuming it starts the program.
    pub task: Stopped,
    /// Its memory.
    pub memory: Memory,
    /// Its life.
    pub leash: Leash,
}

/// Start a program, traced, with the shared area mapped. `random` is what it finds as AT_RANDOM (getauxval(3)), from
/// which C libraries seed their stack protector.
///
/// # Errors
/// [`Error::Start`] if it cannot be executed; [`Error::Forbidden`] if tracing is not allowed.
pub fn launch(program: &Program, stdin: Stdin, area: &Area, random: [u8; 16]) -> Result<Launched, Error> {
    let task = fork_traced(area, stdin, &Then::Execute(Arguments::new(program)?))?;
    let leash = Leash::new(task.tid());
    let task = executed(task, &program.path)?;
    let memory = Memory::open(task.tid())?;
    edit_auxv(&memory, task.registers()?.sp(), random)?;
    let task = map_area(task, &memory)?;
    Ok(Launched { task, memory, leash })
}

/// From the entry of execve(2) to its exit.
fn executed(task: Stopped, path: &Path) -> Result<Stopped, Error> {
    let refused = |source| Error::Start { program: path.display().to_string(), source };
    let mut task = task;
    loop {
        task = match task.resume(Resume::ToSyscallExit, 0)?.wait_soon()? {
            Wait::Stopped(stopped, Stop::SyscallExit) => {
                let result = stopped.registers()?.result();
                if result == 0 {
                    return Ok(stopped);
                }
                return Err(refused(std::io::Error::from_raw_os_error(
                    i32::try_from(-result).unwrap_or(libc::EIO),
                )));
            }
            // The registers are the new program's only at the exit: until then execve would overwrite rax.
            Wait::Stopped(stopped, _) => stopped,
            Wait::Dead(_) => {
                return Err(refused(std::io::Error::other("it died while it was being executed")));
            }
        }
    }
}

/// Make the initial stack the same everywhere: no vdso, so that time comes through system calls; known random bytes.
///
/// The layout above the stack pointer is that of the System V ABI, AMD64 supplement, 3.4.1.
fn edit_auxv(memory: &Memory, sp: u64, random: [u8; 16]) -> Result<(), Error> {
    const WORD: u64 = 8;
    let argc = memory.u64(sp)?;
    let mut at = sp + (1 + argc + 1) * WORD;
    while memory.u64(at)? != 0 {
        at += WORD;
    }
    at += WORD;
    loop {
        let (key, value) = (memory.u64(at)?, memory.u64(at + WORD)?);
        match key {
            libc::AT_NULL => return Ok(()),
            libc::AT_SYSINFO_EHDR => memory.write(at, &libc::AT_IGNORE.to_ne_bytes())?,
            libc::AT_RANDOM => memory.write(value, &random)?,
            _ => {}
        }
        at += 2 * WORD;
    }
}

/// Map the shared area, by injection code that stands for a moment at the program's first instruction.
fn map_area(task: Stopped, memory: &Memory) -> Result<Stopped, Error> {
    let start = task.registers()?;
    let original = memory.bytes(start.ip(), Area::INJECTION.len())?;
    memory.write(start.ip(), &Area::INJECTION)?;
    let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
    let args = [AREA as u64, AREA_LEN as u64, prot as u64, flags as u64, area_fd() as u64, 0];
    let (task, result) = call(task, start, libc::SYS_mmap as u64, args)?;
    memory.write(start.ip(), &original)?;
    if result != AREA as i64 {
        return Err(Error::Os {
            what: format!("map the recorder's memory at {AREA:#x} in the program"),
            source: std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO)),
        });
    }
    // The task stands at the entry of the call that ended the injection: skip it and be at the start again.
    let mut registers = start;
    registers.set_number(u64::MAX);
    task.set_registers(&registers)?;
    Ok(task)
}
