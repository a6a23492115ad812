//! Prepares freshly executed processes to be recorded.

use rrtest_preload::layout::{AREA, AREA_LEN, SYS_INJECTED};

use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::inject::pass_descriptor::{self, pass_descriptor};
use crate::tracee::inject::remote::{call, finish, with_signals_blocked};
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::{Registers, Stopped};
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
    // A tiny program may have no room for more.
    let code = [&Area::INJECTION[..], &OPEN_AND_MAP].concat();
    let has_room = memory.available(start.ip(), code.len()).len() == code.len();
    let code = if has_room { code } else { Area::INJECTION.to_vec() };
    let borrowed = [(start.ip(), code), (text, path)];
    let mut originals = Vec::new();
    for (address, bytes) in &borrowed {
        originals.push((*address, memory.bytes(*address, bytes.len())?));
        memory.write(*address, bytes)?;
    }
    let failed = |what: &str, result: i64| Error::Os {
        what: format!("{what} in process {} of the program", memory.pid()),
        source: std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO)),
    };
    let opens = [text, (libc::O_RDWR | libc::O_CLOEXEC) as u64, 0, 0, 0, 0];
    let (task, opened) = if has_room {
        open_and_map(task, &start, opens)?
    } else {
        let (task, fd) = call(task, start, libc::SYS_open as u64, opens)?;
        if fd < 0 {
            (task, Err(fd))
        } else {
            map(task, start, fd).map(|(task, mapped)| (task, Ok(mapped)))?
        }
    };
    let (task, mapped) = match opened {
        Ok(mapped) => (task, mapped),
        Err(_) => match pass_descriptor(task, &memory, start, text, area.file())? {
            (_, fd) if fd < 0 => return Err(failed("open the recorder's memory", fd)),
            (task, fd) => map(task, start, fd)?,
        },
    };
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

/// How the shared area is mapped.
const PROT: u64 = (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as u64;
const FLAGS: u64 = (libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE) as u64;

/// Code that opens a file, maps it as the shared area, and closes it, and then stops with the result in rdi: what
/// [`Area::INJECTION`] does three times takes two stops more. It begins at open(2), with its arguments in place.
const OPEN_AND_MAP: [u8; 63] = {
    let (at, len, prot, flags) = (low(AREA as u64), low(AREA_LEN as u64), low(PROT), low(FLAGS));
    let mapped = low(libc::SYS_mmap as u64);
    let closed = low(libc::SYS_close as u64);
    let done = low(SYS_INJECTED as u64);
    [
        0x0f, 0x05, // syscall
        0x49, 0x89, 0xc0, // mov r8, rax
        0x48, 0x89, 0xc7, // mov rdi, rax
        0x85, 0xc0, // test eax, eax
        0x78, 0x2c, // js done
        0xbf, at[0], at[1], at[2], at[3], // mov edi, AREA
        0xbe, len[0], len[1], len[2], len[3], // mov esi, AREA_LEN
        0xba, prot[0], prot[1], prot[2], prot[3], // mov edx, PROT
        0x41, 0xba, flags[0], flags[1], flags[2], flags[3], // mov r10d, FLAGS
        0xb8, mapped[0], mapped[1], mapped[2], mapped[3], // mov eax, SYS_mmap
        0x0f, 0x05, // syscall
        0x49, 0x89, 0xc1, // mov r9, rax
        0x4c, 0x89, 0xc7, // mov rdi, r8
        0xb8, closed[0], closed[1], closed[2], closed[3], // mov eax, SYS_close
        0x0f, 0x05, // syscall
        0x4c, 0x89, 0xcf, // mov rdi, r9
        0xb8, done[0], done[1], done[2], done[3], // done: mov eax, SYS_INJECTED
        0x0f, 0x05, // syscall
    ]
};

const fn low(value: u64) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

/// Has a task run [`OPEN_AND_MAP`], which is behind the code at its first instruction, with these arguments of open(2).
/// Returns the result of mmap(2), or of open(2) if that fails.
fn open_and_map(
    task: Stopped,
    start: &Registers,
    opens: [u64; 6],
) -> Result<(Stopped, Result<i64, i64>), Error> {
    let mut registers = *start;
    registers.set_ip(start.ip() + Area::INJECTION.len() as u64);
    registers.set_number(u64::MAX);
    registers.set_result(libc::SYS_open);
    registers.set_args(opens);
    task.set_registers(&registers)?;
    let expected = [libc::SYS_open, libc::SYS_mmap, libc::SYS_close];
    let mut made = 0;
    let is_asked_for = |stopped: &Registers| {
        made += 1;
        expected.get(made - 1).is_some_and(|number| *number as u64 == stopped.number())
    };
    let (task, result) = finish(task, is_asked_for, || "map the recorder's memory".to_owned())?;
    Ok((task, if made > 1 { Ok(result) } else { Err(result) }))
}

/// Has a task map the file behind a descriptor as the shared area, and close it. Returns the result of mmap(2).
fn map(task: Stopped, start: Registers, fd: i64) -> Result<(Stopped, i64), Error> {
    let args = [AREA as u64, AREA_LEN as u64, PROT, FLAGS, fd as u64, 0];
    let (task, mapped) = call(task, start, libc::SYS_mmap as u64, args)?;
    let (task, _) = call(task, start, libc::SYS_close as u64, [fd as u64, 0, 0, 0, 0, 0])?;
    Ok((task, mapped))
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
