//! Prepares freshly executed processes to be recorded.

use rrtest_preload::layout::{AREA, AREA_LEN};

use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::inject::pass_descriptor::{self, pass_descriptor};
use crate::tracee::inject::remote::{call, with_signals_blocked};
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::Stopped;
use crate::tracee::system::PAGE;

/// A process that has been executed and is ready to be recorded.
#[derive(Debug)]
pub struct Executed {
    /// Its only task, before the program's first instruction.
    pub task: Stopped,
    /// Its memory.
    pub memory: Memory,
}

/// Prepares a process that stands at the exit of execve(2): maps the shared area, and makes the initial stack the same
/// everywhere. `random` is what the program finds as AT_RANDOM (getauxval(3)). Signals stay pending.
///
/// # Errors
/// If the process has no way to open the area, or dies.
pub fn set_up(task: Stopped, area: &Area, random: [u8; 16]) -> Result<Executed, Error> {
    let (task, memory) = with_signals_blocked(task, |task| prepare(task, area, random))?;
    Ok(Executed { task, memory })
}

fn prepare(task: Stopped, area: &Area, random: [u8; 16]) -> Result<(Stopped, Memory), Error> {
    let memory = Memory::open(task.tid())?;
    let start = task.registers()?;
    edit_auxv(&memory, start.sp(), random)?;
    // For a moment the injection code is at the program's first instruction, and the path below its stack.
    let mut path = [area.path().as_bytes(), b"\0"].concat();
    path.resize(pass_descriptor::ROOM, 0);
    let text = start.sp() - 512;
    let borrowed = [(start.ip(), Area::INJECTION.to_vec()), (text, path)];
    let mut originals = Vec::new();
    for (address, bytes) in &borrowed {
        originals.push((*address, memory.bytes(*address, bytes.len())?));
        memory.write(*address, bytes)?;
    }
    let failed = |what: &str, result: i64| Error::Os {
        what: format!("{what} in process {} of the program", memory.pid()),
        source: std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO)),
    };
    let open = (libc::O_RDWR | libc::O_CLOEXEC) as u64;
    let (task, fd) = call(task, start, libc::SYS_open as u64, [text, open, 0, 0, 0, 0])?;
    let (task, fd) =
        if fd < 0 { pass_descriptor(task, &memory, start, text, area.file())? } else { (task, fd) };
    if fd < 0 {
        return Err(failed("open the recorder's memory", fd));
    }
    let prot = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
    let flags = (libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE) as u64;
    let args = [AREA as u64, AREA_LEN as u64, prot, flags, fd as u64, 0];
    let (task, mapped) = call(task, start, libc::SYS_mmap as u64, args)?;
    let (task, _) = call(task, start, libc::SYS_close as u64, [fd as u64, 0, 0, 0, 0, 0])?;
    for (address, bytes) in &originals {
        memory.write(*address, bytes)?;
    }
    if mapped != AREA as i64 {
        return Err(failed(&format!("map the recorder's memory at {AREA:#x}"), mapped));
    }
    // The task stands at the entry of the call that ended the injection: skip it and return to the start.
    let mut registers = start;
    registers.set_number(u64::MAX);
    task.set_registers(&registers)?;
    Ok((task, memory))
}

/// Makes the initial stack the same everywhere: without vdso, so that time comes through system calls, and with known
/// random bytes.
///
/// The layout above the stack pointer is that of the System V ABI, AMD64 supplement, 3.4.1.
fn edit_auxv(memory: &Memory, sp: u64, random: [u8; 16]) -> Result<(), Error> {
    const WORD: u64 = 8;
    let stack = Stack { memory, sp, bytes: memory.available(sp, PAGE as usize) };
    let argc = stack.word(0)?;
    let mut at = 1 + argc + 1;
    while stack.word(at)? != 0 {
        at += 1;
    }
    at += 1;
    loop {
        let (key, value) = (stack.word(at)?, stack.word(at + 1)?);
        match key {
            libc::AT_NULL => return Ok(()),
            libc::AT_SYSINFO_EHDR => memory.write(sp + at * WORD, &libc::AT_IGNORE.to_ne_bytes())?,
            libc::AT_RANDOM => memory.write(value, &random)?,
            _ => {}
        }
        at += 2;
    }
}

/// The initial stack.
struct Stack<'a> {
    memory: &'a Memory,
    sp: u64,
    /// Its beginning, which suffices unless there are very many arguments and variables.
    bytes: Vec<u8>,
}

impl Stack<'_> {
    fn word(&self, number: u64) -> Result<u64, Error> {
        let at = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(size_of::<u64>());
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(word) => Ok(u64::from_ne_bytes(*word)),
            None => self.memory.u64(self.sp.saturating_add(at as u64)),
        }
    }
}
