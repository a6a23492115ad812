//! Files that change as a whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Writes a file. Whoever opens it sees all of it, or what was there before.
///
/// What is no regular file, such as a FIFO, is written to as it is.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return File::options().write(true).open(path)?.write_all(bytes);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are private otherwise. The umask applies.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Writes a file, as [`write_whole`], and makes its directory if there is none.
pub(crate) fn write_whole_in(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    write_whole(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_as_any_other_and_what_is_none_stays_what_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ours, plain) = (dir.path().join("a/b/ours"), dir.path().join("plain"));
        for text in ["first", "second"] {
            write_whole_in(&ours, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&ours).expect("a file"), text);
        }
        fs::write(&plain, "").expect("a file");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
        assert_eq!(fs::read_dir(dir.path().join("a/b")).expect("a directory").count(), 1);
        write_whole(Path::new("/dev/null"), b"nothing").expect("written");
        assert!(write_whole(dir.path(), b"").is_err(), "a directory");
        assert!(write_whole(&dir.path().join("no/such"), b"").is_err(), "no directory");
    }
}
