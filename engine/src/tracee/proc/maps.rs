//! Reads `/proc/PID/maps` (proc_pid_maps(5)).

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::Error;
use crate::tracee::system::on_task;

/// A mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Start address.
    pub start: u64,
    /// End address.
    pub end: u64,
    /// `PROT_*` of mmap(2).
    pub prot: i32,
    /// Whether writes are shared.
    pub shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// The file's device, as stat(2) reports it.
    pub dev: u64,
    /// The file's inode; 0 if there is no file.
    pub inode: u64,
    /// The file, or a name in brackets like `[stack]`; empty for anonymous memory.
    pub path: PathBuf,
}

/// Returns the mappings of a process, by address.
///
/// # Errors
/// If the process is gone.
pub fn maps(pid: Pid) -> Result<Vec<Line>, Error> {
    let path = format!("/proc/{pid}/maps");
    let text = std::fs::read(&path).map_err(on_task(format!("read {path}")))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
}

/// Returns the locked parts of a process's memory (mlock(2)), by address: `lo` in proc_pid_smaps(5).
///
/// # Errors
/// If the process is gone.
pub fn locked(pid: Pid) -> Result<Vec<Range<u64>>, Error> {
    let path = format!("/proc/{pid}/smaps");
    let text = std::fs::read(&path).map_err(on_task(format!("read {path}")))?;
    Ok(locked_in(&String::from_utf8_lossy(&text)))
}

fn locked_in(smaps: &str) -> Vec<Range<u64>> {
    let mut last = None;
    let mut locked = Vec::new();
    for text in smaps.lines() {
        if let Some(flags) = text.strip_prefix("VmFlags:") {
            locked.extend(last.take().filter(|_| flags.split_whitespace().any(|flag| flag == "lo")));
        } else if let Some(line) = line(text) {
            last = Some(line.start..line.end);
        }
    }
    locked
}

/// Returns the mapping around an address, without its path, if it is private code that the process does not write.
///
/// # Errors
/// If the process is gone.
pub fn code_around(pid: Pid, address: u64) -> Result<Option<Line>, Error> {
    let path = format!("/proc/{pid}/maps");
    let file = File::open(&path).map_err(on_task(format!("read {path}")))?;
    let mut query = Query { size: size_of::<Query>() as u64, address, ..Query::default() };
    // SAFETY: the structure has the size that it says, and the kernel writes to no other memory: it gets no buffer for
    // names.
    match unsafe { procmap_query(file.as_raw_fd(), &raw mut query) } {
        Ok(_) => Ok((query.flags & Query::ALL == Query::CODE).then(|| query.line())),
        Err(Errno::ENOENT) => Ok(None),
        // Kernels before 6.11 do not have this request.
        Err(_) => Ok(code_in(&maps(pid)?, address)),
    }
}

fn code_in(lines: &[Line], address: u64) -> Option<Line> {
    let line = lines.iter().find(|line| (line.start..line.end).contains(&address))?;
    let is_code = line.prot & (libc::PROT_WRITE | libc::PROT_EXEC) == libc::PROT_EXEC;
    (is_code && !line.shared).then(|| Line { path: PathBuf::new(), ..line.clone() })
}

/// `struct procmap_query` (linux/fs.h), which describes one mapping without formatting all others as text.
#[repr(C)]
#[derive(Debug, Default)]
struct Query {
    size: u64,
    /// 0: the mapping must contain the address.
    which: u64,
    address: u64,
    start: u64,
    end: u64,
    flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    dev: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name_address: u64,
    build_id_address: u64,
}

impl Query {
    const READABLE: u64 = 1;
    const WRITABLE: u64 = 2;
    const CODE: u64 = 4;
    const SHARED: u64 = 8;
    const ALL: u64 = Self::WRITABLE | Self::CODE | Self::SHARED;

    fn line(&self) -> Line {
        let bit = |flag, value| if self.flags & flag != 0 { value } else { 0 };
        Line {
            start: self.start,
            end: self.end,
            prot: bit(Self::READABLE, libc::PROT_READ)
                | bit(Self::WRITABLE, libc::PROT_WRITE)
                | bit(Self::CODE, libc::PROT_EXEC),
            shared: self.flags & Self::SHARED != 0,
            offset: self.offset,
            dev: libc::makedev(self.dev[0], self.dev[1]),
            inode: self.inode,
            path: PathBuf::new(),
        }
    }
}

nix::ioctl_readwrite!(
    /// `PROCMAP_QUERY` (linux/fs.h).
    procmap_query,
    b'f',
    17,
    Query
);

fn line(text: &str) -> Option<Line> {
    let mut fields = text.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let flags = fields.next()?.as_bytes();
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    let bit = |at: usize, letter: u8, value| if flags.get(at) == Some(&letter) { value } else { 0 };
    Some(Line {
        start: hex(start)?,
        end: hex(end)?,
        prot: bit(0, b'r', libc::PROT_READ) | bit(1, b'w', libc::PROT_WRITE) | bit(2, b'x', libc::PROT_EXEC),
        shared: flags.get(3) == Some(&b's'),
        offset: hex(fields.next()?)?,
        dev: {
            let (major, minor) = fields.next()?.split_once(':')?;
            libc::makedev(hex(major)? as u32, hex(minor)? as u32)
        },
        inode: fields.next()?.parse().ok()?,
        path: fields.next().unwrap_or_default().trim_start().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_other_memory() {
        let me = Pid::this();
        let here = code_is_told_from_other_memory as fn() as usize as u64;
        let local = 0_u8;
        for (address, is_code) in [(here, true), ((&raw const local) as u64, false), (16, false)] {
            let line = code_around(me, address).unwrap();
            assert_eq!(line.is_some_and(|line| (line.start..line.end).contains(&address)), is_code);
            assert_eq!(
                code_around(me, address).unwrap(),
                code_in(&maps(me).unwrap(), address),
                "on any kernel"
            );
        }
    }

    #[test]
    fn locked_memory_is_found() {
        let smaps = "1000-2000 rw-p 00000000 00:00 0 \nRss:                   4 kB\nVmFlags: rd wr mr mw me lo ac sd \n\
                     3000-4000 rw-p 00000000 00:00 0 \nVmFlags: rd wr mr mw me ac sd \n";
        assert_eq!(locked_in(smaps), vec![0x1000..0x2000]);
    }

    #[test]
    fn lines_are_read() {
        let got =
            line("7ffff7f0-7ffff7f1 r-xp 00001000 fe:00 1234                       /lib/a b.so").unwrap();
        assert_eq!((got.start, got.end, got.offset, got.inode), (0x7fff_f7f0, 0x7fff_f7f1, 0x1000, 1234));
        assert_eq!(got.prot, libc::PROT_READ | libc::PROT_EXEC);
        assert!(!got.shared);
        assert_eq!(got.dev, libc::makedev(0xfe, 0));
        assert_eq!(got.path, PathBuf::from("/lib/a b.so"));
        assert_eq!(line("1000-2000 rw-s 00000000 00:00 0 ").unwrap().path, PathBuf::new());
        assert_eq!(line("nonsense"), None);
    }
}
