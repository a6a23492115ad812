//! A process's descriptors, as `/proc/PID/fd` shows them (proc_pid_fd(5)).

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;

use nix::unistd::Pid;

use super::fd_info::FdInfo;

/// A descriptor of a process, or what would be one: the number need not be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd {
    /// The process, or one of its threads.
    pub tid: Pid,
    /// Its number there.
    pub number: i32,
}

impl Fd {
    /// Returns the descriptor with this number.
    #[must_use]
    pub const fn of(tid: Pid, number: i32) -> Self {
        Self { tid, number }
    }

    /// Returns the descriptor that an argument of a call names: the upper half does not count.
    #[must_use]
    pub const fn argument(tid: Pid, arg: u64) -> Self {
        Self::of(tid, arg as i32)
    }

    /// Returns a path under which others can open the same file.
    #[must_use]
    pub fn path(self) -> PathBuf {
        format!("/proc/{}/fd/{}", self.tid, self.number).into()
    }

    /// Returns what it refers to: the file's path, or a name like `pipe:[INODE]` or `anon_inode:[eventfd]`.
    ///
    /// # Errors
    /// If it is not open, or may not be looked at.
    pub fn link(self) -> io::Result<PathBuf> {
        std::fs::read_link(self.path())
    }

    /// The same as text.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn name(self) -> io::Result<String> {
        Ok(self.link()?.to_string_lossy().into_owned())
    }

    /// Returns the metadata of the file.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn metadata(self) -> io::Result<Metadata> {
        std::fs::metadata(self.path())
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// As [`Self::link`], or if the file may not be opened.
    pub fn open(self) -> io::Result<File> {
        File::open(self.path())
    }

    /// Returns what else the kernel tells about it.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn info(self) -> io::Result<FdInfo> {
        FdInfo::of(self)
    }
}

/// Iterates over a process's descriptors.
///
/// # Errors
/// If the process is gone, or may not be looked at.
pub fn fds(pid: Pid) -> io::Result<impl Iterator<Item = Fd>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    Ok(entries.filter_map(move |entry| Some(Fd::of(pid, entry.file_name().to_str()?.parse().ok()?))))
}

/// Iterates over a process's descriptors with their [names](Fd::name), as far as they may be looked at.
pub fn named_fds(pid: Pid) -> impl Iterator<Item = (Fd, String)> {
    fds(pid).into_iter().flatten().filter_map(|fd| Some((fd, fd.name().ok()?)))
}

/// Returns the inode in a [name](Fd::name) of a socket.
#[must_use]
pub fn socket_inode(name: &str) -> Option<u64> {
    name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileTypeExt;

    use super::*;

    #[test]
    fn descriptors_are_found_and_named() {
        let own = Pid::this();
        let (reader, writer) = std::io::pipe().unwrap();
        let [read, write] = [reader.as_raw_fd(), writer.as_raw_fd()].map(|fd| Fd::of(own, fd));
        assert_eq!(read.name().unwrap(), write.name().unwrap());
        assert!(read.name().unwrap().starts_with("pipe:["));
        assert!(read.metadata().unwrap().file_type().is_fifo());
        let all: Vec<Fd> = fds(own).unwrap().collect();
        assert!(all.contains(&read) && all.contains(&write));
        assert!(named_fds(own).any(|(fd, name)| fd == read && name.starts_with("pipe:[")));
        let none = Fd::argument(own, u64::from(u32::MAX >> 1) | 1 << 40);
        assert_eq!(none.number, i32::MAX);
        assert_eq!(none.link().unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_path_opens_the_file() {
        use std::io::Read;
        let mut text = String::new();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "text").unwrap();
        let fd = Fd::of(Pid::this(), file.as_file().as_raw_fd());
        fd.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), fd.link().unwrap().as_path()), ("text", file.path()));
    }

    #[test]
    fn the_inode_of_a_socket_is_read() {
        assert_eq!(socket_inode("socket:[12]"), Some(12));
        assert_eq!(socket_inode("pipe:[12]"), None);
    }
}
