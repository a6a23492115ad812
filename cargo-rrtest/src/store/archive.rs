//! Traces in a zip file, as GitHub and GitLab hand out what a job has uploaded. Whoever could write it may have meant harm: it is taken
//! apart only as far as traces need it, and refused if anything in it could do more than that.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;

use super::traces::EXTENSION;
use crate::base::exit::{CliError, Status};
use crate::base::words::{size, visible};

/// No job uploads as many files.
const MOST_ENTRIES: usize = 4096;

/// What unpacked traces may have together.
const MOST_BYTES: u64 = 8 << 30;

/// Traces are compressed already: what unpacks to so many times the zip file, and more than [`MOST_SMALL`], is none.
const MOST_TIMES: u64 = 32;

/// What even the smallest zip file may unpack to.
const MOST_SMALL: u64 = 16 << 20;

/// Whether a file begins as a zip file does; an empty one is one, too.
pub(super) fn is_zip(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut magic = Vec::new();
    file.take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok([b"PK\x03\x04", b"PK\x05\x06"].iter().any(|known| magic == **known))
}

/// Unpacks the traces of a zip file into a directory. `label` is what the user calls it.
pub(super) fn unpack(file: File, label: &str, into: &Path) -> Result<(), CliError> {
    let refused =
        |why: String| CliError::new(Status::Recorder, format!("cannot take traces from {label}: {why}"));
    let length = file.metadata().map_err(|error| CliError::os(format!("cannot read {label}"), &error))?.len();
    let unreadable = |error: zip::result::ZipError| refused(format!("it is no sound zip file: {error}"));
    let mut archive = ZipArchive::new(file).map_err(unreadable)?;
    if archive.len() > MOST_ENTRIES {
        return Err(refused(format!(
            "it has {} entries, and at most {MOST_ENTRIES} are read",
            archive.len()
        )));
    }
    let mut room = MOST_BYTES.min(length.saturating_mul(MOST_TIMES).max(MOST_SMALL));
    for index in 0..archive.len() {
        // All are looked at before any byte is unpacked.
        let entry = archive.by_index_raw(index).map_err(unreadable)?;
        checked(&entry).map_err(|why| refused(format!("its entry `{}` {why}", name(&entry))))?;
    }
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(unreadable)?;
        let Ok(Some(path)) = checked(&entry) else { continue };
        let name = name(&entry);
        drop(entry);
        let of_entry = |why: String| refused(format!("its entry `{name}` {why}"));
        let entry = archive.by_index(index).map_err(|error| of_entry(format!("cannot be read: {error}")))?;
        let written = write(entry, &into.join(path), room);
        let written = written.map_err(|error| of_entry(format!("cannot be unpacked: {error}")))?;
        room = room.checked_sub(written).ok_or_else(|| {
            let most = size(MOST_BYTES.min(length.saturating_mul(MOST_TIMES).max(MOST_SMALL)));
            of_entry(format!("unpacks to too much: all traces of a file of {} may have {most}", size(length)))
        })?;
    }
    Ok(())
}

/// What an entry is called, for people.
fn name<R: Read>(entry: &ZipFile<'_, R>) -> String {
    visible(&String::from_utf8_lossy(entry.name_raw()))
}

/// Where an entry goes, below the directory; none if it is no trace. An error says why the file is refused.
fn checked<R: Read>(entry: &ZipFile<'_, R>) -> Result<Option<PathBuf>, String> {
    let path = Path::new(OsStr::from_bytes(entry.name_raw()));
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("names a place outside of the directory that it is unpacked in".to_owned());
    }
    if entry.is_symlink() {
        return Err("is a symbolic link".to_owned());
    }
    let is_trace = entry.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION);
    if is_trace && entry.encrypted() {
        return Err("is encrypted".to_owned());
    }
    Ok(is_trace.then(|| path.to_owned()))
}

/// Writes an entry to a new file, and no more of it than one byte beyond `room`. Returns how much that was.
fn write(entry: impl Read, path: &Path, room: u64) -> io::Result<u64> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(&mut entry.take(room.saturating_add(1)), &mut file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tempfile::TempDir;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    /// A zip file that `fill` has filled, and what comes of unpacking it.
    fn unpacked(fill: impl FnOnce(&mut ZipWriter<File>)) -> (TempDir, Result<(), String>) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.zip");
        let mut writer = ZipWriter::new(File::create(&path).expect("a file"));
        fill(&mut writer);
        writer.finish().expect("a zip file");
        let result = of_file(&dir, &path);
        (dir, result)
    }

    fn of_file(dir: &TempDir, path: &Path) -> Result<(), String> {
        let mut file = File::open(path).expect("the file");
        assert!(is_zip(&mut file).expect("readable"));
        unpack(file, "a.zip", &dir.path().join("out")).map_err(|stop| stop.message.expect("a message"))
    }

    fn deflated() -> SimpleFileOptions {
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
    }

    fn add(writer: &mut ZipWriter<File>, name: &str, bytes: &[u8]) {
        writer.start_file(name, deflated()).expect("an entry");
        writer.write_all(bytes).expect("its bytes");
    }

    #[test]
    fn traces_are_unpacked_and_nothing_else() {
        let (dir, result) = unpacked(|zip| {
            add(zip, "traces/a.rrtrace", b"one");
            add(zip, "b.rrtrace", b"two");
            add(zip, "report.xml", b"three");
            // As large ones are written.
            zip.start_file("c.rrtrace", deflated().large_file(true)).expect("an entry");
            zip.write_all(b"four").expect("its bytes");
        });
        result.expect("unpacked");
        let read = |name: &str| fs::read(dir.path().join("out").join(name)).ok();
        assert_eq!(read("traces/a.rrtrace"), Some(b"one".to_vec()));
        assert_eq!(read("b.rrtrace"), Some(b"two".to_vec()));
        assert_eq!(read("c.rrtrace"), Some(b"four".to_vec()));
        assert_eq!(read("report.xml"), None);
    }

    #[test]
    fn places_outside_are_refused_by_name() {
        for name in ["../x.rrtrace", "a/../../x.rrtrace", "/etc/x.rrtrace", "../x.txt"] {
            let (dir, result) = unpacked(|zip| {
                add(zip, "good.rrtrace", b"good");
                add(zip, name, b"bad");
            });
            let why = result.expect_err("refused");
            assert!(why.contains(name) && why.contains("outside"), "{why}");
            assert!(!dir.path().join("out").exists(), "nothing is unpacked");
        }
    }

    #[test]
    fn links_are_refused_by_name() {
        let (_dir, result) = unpacked(|zip| {
            zip.add_symlink("l.rrtrace", "/etc/passwd", SimpleFileOptions::default()).expect("a link");
        });
        let why = result.expect_err("refused");
        assert!(why.contains("`l.rrtrace` is a symbolic link"), "{why}");
    }

    #[test]
    fn bombs_are_refused_by_name() {
        let (dir, result) = unpacked(|zip| {
            add(zip, "small.rrtrace", b"good");
            add(zip, "bomb.rrtrace", &vec![0; 64 << 20]);
        });
        let why = result.expect_err("refused");
        assert!(why.contains("`bomb.rrtrace` unpacks to too much"), "{why}");
        let length = dir.path().join("out/bomb.rrtrace").metadata().expect("a file").len();
        assert!(length <= MOST_SMALL + 1, "{length}");
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let (dir, result) = unpacked(|zip| {
            add(zip, "a.rrtrace", b"one");
            add(zip, "b.rrtrace", b"two");
        });
        result.expect("unpacked");
        let path = dir.path().join("a.zip");
        let bytes = fs::read(&path).expect("the file");
        let text = bytes.windows(9).position(|part| part == b"b.rrtrace").expect("the name");
        assert!(text > 0);
        let same: Vec<u8> = replaced(&bytes, b"b.rrtrace", b"a.rrtrace");
        fs::write(&path, same).expect("a file");
        fs::remove_dir_all(dir.path().join("out")).expect("what was unpacked");
        // Whichever of the two is taken, none is overwritten.
        let result = of_file(&dir, &path);
        let kept = fs::read(dir.path().join("out/a.rrtrace")).expect("one of them");
        assert!(result.is_err() && kept == b"one" || result.is_ok() && kept == b"two", "{result:?}");
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for at in 0..=bytes.len() - from.len() {
            if &bytes[at..at + from.len()] == from {
                bytes[at..at + to.len()].copy_from_slice(to);
            }
        }
        bytes
    }

    #[test]
    fn encrypted_ones_are_refused_by_name() {
        let (dir, result) = unpacked(|zip| add(zip, "e.rrtrace", b"secret"));
        result.expect("unpacked");
        let path = dir.path().join("a.zip");
        let bytes = fs::read(&path).expect("the file");
        // The flag for it is bit 0 of the word after signature and version, in both headers.
        let mut bytes = bytes;
        for (signature, at) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
            let header = bytes.windows(4).position(|part| part == signature).expect("a header");
            bytes[header + at] |= 1;
        }
        fs::write(&path, bytes).expect("a file");
        fs::remove_dir_all(dir.path().join("out")).expect("what was unpacked");
        let why = of_file(&dir, &path).expect_err("refused");
        assert!(why.contains("`e.rrtrace` is encrypted"), "{why}");
    }

    #[test]
    fn no_altered_byte_does_harm() {
        let (dir, result) = unpacked(|zip| {
            add(zip, "a.rrtrace", b"one");
            add(zip, "b/c.rrtrace", &vec![7; 5000]);
        });
        result.expect("unpacked");
        let path = dir.path().join("a.zip");
        let bytes = fs::read(&path).expect("the file");
        for at in 4..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut altered = bytes.clone();
                altered[at] ^= flip;
                fs::write(&path, altered).expect("a file");
                drop(fs::remove_dir_all(dir.path().join("out")));
                // Refused or not: nothing appears outside.
                let _result = of_file(&dir, &path);
                assert_eq!(
                    fs::read_dir(dir.path()).expect("a directory").count(),
                    1 + usize::from(dir.path().join("out").exists())
                );
            }
        }
    }
}
