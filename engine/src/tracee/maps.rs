//! `/proc/PID/maps` (proc_pid_maps(5)).

use std::path::PathBuf;

use nix::unistd::Pid;

use crate::Error;
use crate::tracee::os;

/// One mapping of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// First address.
    pub start: u64,
    /// First address past it.
    pub end: u64,
    /// `PROT_*` of mmap(2).
    pub prot: i32,
    /// Whether writes are shared.
    pub shared: bool,
    /// Offset in the file.
    pub offset: u64,
    /// The device that the file is on, as stat(2) has it.
    pub dev: u64,
    /// The file's inode; 0 if there is no file.
    pub inode: u64,
    /// The file, or a name in brackets such as `[stack]`; empty for anonymous memory.
    pub path: PathBuf,
}

/// The mappings of a process, by address.
///
/// # Errors
/// If the process is gone.
pub fn maps(pid: Pid) -> Result<Vec<Line>, Error> {
    let path = format!("/proc/{pid}/maps");
    let text = std::fs::read(&path).map_err(os(format!("read {path}")))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(line).collect())
}

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
