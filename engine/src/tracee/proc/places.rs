//! Where a task is in the file system: its root and working directory, its program, its directories
//! (proc_pid_root(5), proc_pid_cwd(5), proc_pid_exe(5)).

use std::fs::Metadata;
use std::io;
use std::path::PathBuf;

use nix::unistd::Pid;

use super::descriptors::Fd;

/// A place that a task has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where its absolute paths begin.
    Root,
    /// Where its relative paths begin.
    WorkingDirectory,
    /// The program that it executes.
    Program,
    /// The file of this descriptor.
    Fd(i32),
}

impl Place {
    /// Returns the directory that calls like openat(2) are given.
    #[must_use]
    pub const fn of_directory(fd: i32) -> Self {
        if fd == libc::AT_FDCWD { Self::WorkingDirectory } else { Self::Fd(fd) }
    }

    /// Returns a path under which others can open it.
    #[must_use]
    pub fn path(self, tid: Pid) -> PathBuf {
        let name = match self {
            Self::Root => "root",
            Self::WorkingDirectory => "cwd",
            Self::Program => "exe",
            Self::Fd(number) => return Fd::of(tid, number).path(),
        };
        format!("/proc/{tid}/{name}").into()
    }

    /// Returns its path in the file system.
    ///
    /// # Errors
    /// If the task has no such place, or may not be looked at.
    pub fn link(self, tid: Pid) -> io::Result<PathBuf> {
        std::fs::read_link(self.path(tid))
    }

    /// Returns its metadata.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn metadata(self, tid: Pid) -> io::Result<Metadata> {
        std::fs::metadata(self.path(tid))
    }
}

/// Returns the metadata of the file to which a path leads a task that begins at `directory`.
///
/// # Errors
/// If there is no such file, or it may not be looked at.
pub fn file_at(tid: Pid, directory: Place, path: &str) -> io::Result<Metadata> {
    let from = if path.starts_with('/') { Place::Root } else { directory };
    let mut full = from.path(tid).into_os_string();
    full.push("/");
    full.push(path);
    std::fs::metadata(full)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn places_are_where_the_task_is() {
        let own = Pid::this();
        assert_eq!(Place::WorkingDirectory.link(own).unwrap(), std::env::current_dir().unwrap());
        assert_eq!(Place::Program.link(own).unwrap(), std::env::current_exe().unwrap());
        let program = std::fs::metadata(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Place::Program.metadata(own).unwrap().ino(), program.ino());
        assert!(Place::Fd(1 << 20).link(own).is_err());
    }

    #[test]
    fn paths_lead_from_their_directories() {
        let own = Pid::this();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let open = std::fs::File::open(directory.path()).unwrap();
        let from = Place::of_directory(open.as_raw_fd());
        assert_eq!(file_at(own, from, "file").unwrap().ino(), inode);
        assert_eq!(file_at(own, Place::WorkingDirectory, path.to_str().unwrap()).unwrap().ino(), inode);
        assert!(file_at(own, Place::of_directory(libc::AT_FDCWD), "no such file").is_err());
    }
}
