//! Locks on files, as `/proc/locks` (proc_locks(5)) and `/proc/PID/fdinfo` list them.

use std::io;

/// A lock that somebody has, or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// Of which kind.
    pub kind: LockKind,
    /// Whether nobody else can have it meanwhile.
    pub exclusive: bool,
    /// The process that has asked for it; -1 if it belongs to none.
    pub pid: i32,
    /// On what.
    pub file: LockedFile,
    /// The first byte.
    pub first: u64,
    /// The last one; none if it is to the end of the file, wherever that will be.
    pub last: Option<u64>,
    /// Whether it is only waited for.
    pub waits: bool,
}

/// Kinds of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// Of an open file description (flock(2)).
    Flock,
    /// Of a process (fcntl(2)).
    Posix,
    /// Of an open file description, for a range of bytes (fcntl(2)).
    Ofd,
    /// Leases and the like.
    Other,
}

/// A file, by what lists of locks call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedFile {
    /// Major and minor device number of the file system. stat(2) may report another one (btrfs, overlayfs).
    pub device: (u32, u32),
    /// Its inode there.
    pub inode: u64,
}

impl FileLock {
    /// Parses a line, which begins with a number.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let waits = words.first() == Some(&"->");
        if waits {
            words.remove(0);
        }
        let [kind, _, access, pid, file, first, last] = words[..] else { return None };
        let kind = match kind {
            "FLOCK" => LockKind::Flock,
            "POSIX" => LockKind::Posix,
            "OFDLCK" => LockKind::Ofd,
            _ => LockKind::Other,
        };
        Some(Self {
            kind,
            exclusive: access == "WRITE",
            pid: pid.parse().unwrap_or(-1),
            file: LockedFile::parse(file)?,
            first: first.parse().ok()?,
            last: last.parse().ok(),
            waits,
        })
    }
}

impl LockedFile {
    /// Parses `MAJOR:MINOR:INODE`, of which the first two are hexadecimal.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let [major, minor, inode] = [parts.next()?, parts.next()?, parts.next()?];
        let number = |part| u32::from_str_radix(part, 16).ok();
        Some(Self { device: (number(major)?, number(minor)?), inode: inode.parse().ok()? })
    }
}

/// Lists all locks. Those that are waited for follow the one that is in their way, in any order.
///
/// # Errors
/// If the kernel does not tell.
pub fn file_locks() -> io::Result<Vec<FileLock>> {
    std::fs::read_to_string("/proc/locks").map(|text| parse_all(&text))
}

fn parse_all(text: &str) -> Vec<FileLock> {
    text.lines().filter_map(FileLock::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_read() {
        let text = "1: FLOCK  ADVISORY  WRITE 6542 fe:00:58 0 EOF\n1: -> FLOCK  ADVISORY  READ 6543 fe:00:58 0 EOF\n\
                    2: OFDLCK ADVISORY  READ -1 fe:1a:59 7 9\n3: LEASE  ACTIVE    READ 7 fe:00:60 0 EOF\nx\n";
        let [has, waits, range, lease] = &parse_all(text)[..] else { panic!("{:?}", parse_all(text)) };
        let file = LockedFile { device: (0xfe, 0), inode: 58 };
        assert_eq!((has.kind, has.exclusive, has.pid, has.file), (LockKind::Flock, true, 6542, file));
        assert_eq!(
            (waits.kind, waits.exclusive, waits.pid, waits.file),
            (LockKind::Flock, false, 6543, file)
        );
        assert_eq!((has.waits, waits.waits, range.waits), (false, true, false));
        assert_eq!((range.kind, range.pid, range.file.device), (LockKind::Ofd, -1, (0xfe, 0x1a)));
        assert_eq!(lease.kind, LockKind::Other);
        assert_eq!([(has.first, has.last), (range.first, range.last)], [(0, None), (7, Some(9))]);
    }

    #[test]
    fn a_lock_of_ours_is_listed() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        file.lock().unwrap();
        let inode = file.metadata().unwrap().ino();
        let own = std::process::id().cast_signed();
        let ours =
            |lock: &FileLock| lock.file.inode == inode && lock.pid == own && lock.exclusive && !lock.waits;
        assert!(file_locks().unwrap().iter().any(ours));
    }
}
