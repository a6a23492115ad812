//! A file that has no name until it is complete.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use tempfile::TempPath;

/// The mode of trace files: nobody but their owner reads or writes them.
const OWNERS: u32 = 0o600;

/// A new file without a name (open(2), `O_TMPFILE`): if it is dropped or the process is killed, nothing is left of it.
///
/// Where the file system knows no such files (NFS, some FUSE ones), it has a hidden name instead, which a kill leaves
/// behind.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    directory: PathBuf,
    hidden: Option<TempPath>,
}

impl Unnamed {
    /// A new, empty file in `directory`, to read and to write.
    ///
    /// # Errors
    /// If the directory is not there or cannot be written to.
    pub fn create(directory: &Path) -> io::Result<Self> {
        // An empty path stands for the working directory, as in the parent of a bare file name.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        // A trace holds the memory of a program: it is its owner's.
        let unnamed = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(OWNERS)
            .custom_flags(libc::O_TMPFILE)
            .open(directory);
        match unnamed {
            Ok(file) => Ok(Self { file, directory: directory.to_owned(), hidden: None }),
            // File systems differ in how they refuse; if the reason was another, it comes up again.
            Err(_) => Self::create_hidden(directory),
        }
    }

    /// A new, empty file for what is to be named `path`.
    ///
    /// # Errors
    /// As [`Unnamed::create`].
    pub fn beside(path: &Path) -> io::Result<Self> {
        Self::create(path.parent().unwrap_or(Path::new("")))
    }

    fn create_hidden(directory: &Path) -> io::Result<Self> {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(OWNERS);
        let (file, hidden) = tempfile::Builder::new()
            .prefix(".unfinished-")
            .permissions(permissions)
            .tempfile_in(directory)?
            .into_parts();
        Ok(Self { file, directory: directory.to_owned(), hidden: Some(hidden) })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The directory it is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Take the place of a file that may be there, once its contents are safe on the disk. `path` must lie in the
    /// file's directory.
    ///
    /// # Errors
    /// What kept it from that. The other file is as it was then.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        self.name(&beside)?;
        std::fs::rename(&beside, path).inspect_err(|_| drop(std::fs::remove_file(&beside)))
    }

    /// Give it its name, once its contents are safe on the disk. `path` must lie in the file's directory.
    ///
    /// # Errors
    /// `AlreadyExists` if there is such a file: it is never replaced. Else what kept the file from reaching the disk.
    /// Nothing is left behind then.
    pub fn name(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        match self.hidden {
            Some(hidden) => hidden.persist_noclobber(path).map_err(|error| error.error),
            None => {
                let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                nix::unistd::linkat(AT_FDCWD, link.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};

    use super::*;

    type Create = fn(&Path) -> io::Result<Unnamed>;

    /// Both kinds: what a caller sees is the same.
    const KINDS: [Create; 2] = [Unnamed::create, Unnamed::create_hidden];

    fn names(directory: &Path) -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn appears_whole_under_its_name() {
        for create in KINDS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("name");
            let unnamed = create(directory.path()).unwrap();
            unnamed.file().write_all(b"contents").unwrap();
            assert!(!path.exists());
            unnamed.name(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"contents");
            assert_eq!(names(directory.path()), [path]);
        }
    }

    #[test]
    fn leaves_nothing_when_dropped() {
        for create in KINDS {
            let directory = tempfile::tempdir().unwrap();
            let unnamed = create(directory.path()).unwrap();
            unnamed.file().write_all(b"contents").unwrap();
            drop(unnamed);
            assert_eq!(names(directory.path()), [] as [PathBuf; 0]);
        }
    }

    #[test]
    fn never_replaces_a_file() {
        for create in KINDS {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("name");
            fs::write(&path, b"old").unwrap();
            let unnamed = create(directory.path()).unwrap();
            unnamed.file().write_all(b"new").unwrap();
            let error = unnamed.name(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            let mut contents = String::new();
            File::open(&path).unwrap().read_to_string(&mut contents).unwrap();
            assert_eq!(contents, "old");
            assert_eq!(names(directory.path()), [path]);
        }
    }

    #[test]
    fn names_the_reason_of_a_refusal() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(Unnamed::create(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
