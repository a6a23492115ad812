//! The files that a trace carries, where they still are as they were: on the machine that recorded it.
//!
//! To read a block of a file and take its digest is several times as fast as to decompress it, and a debug build has
//! many megabytes of them. What does not have the digest that the trace tells is not used, so that the file may have
//! become anything.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use twox_hash::XxHash3_128;

use super::layout::StoredFile;
use super::regular;

/// What tells whether a block of a file is still the same.
pub(super) fn digest(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// The file of which a trace carries parts, if what has its name now can be it.
#[derive(Debug)]
pub(super) struct Original(File);

impl Original {
    pub(super) fn find(file: &StoredFile) -> Option<Self> {
        let (original, metadata) = regular::open(Path::new(&file.path)).ok()?;
        (metadata.len() == file.size).then_some(Self(original))
    }

    /// Copy a range to the same place in another file, a buffer at a time, and give its digest.
    pub(super) fn copy(&self, range: Range<u64>, to: &File, buffer: &mut [u8]) -> io::Result<u128> {
        let mut hasher = XxHash3_128::new();
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(buffer.len() as u64);
            let part = &mut buffer[..len as usize];
            self.0.read_exact_at(part, at)?;
            hasher.write(part);
            to.write_all_at(part, at)?;
            at += len;
        }
        Ok(hasher.finish_128())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PART: usize = 4096;

    #[test]
    fn what_is_copied_is_what_the_digest_is_of() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mapped");
        let bytes: Vec<u8> = (0..3 * PART + 5).map(|at| (at >> 3) as u8).collect();
        let stored = StoredFile { path: path.clone().into(), size: bytes.len() as u64, blocks: [].into() };
        let find = || Original::find(&stored);

        assert!(find().is_none());
        fs::write(&path, &bytes).unwrap();
        for range in [0..bytes.len(), 7..PART + 9, PART..2 * PART, 9..9] {
            let copy = tempfile::tempfile().unwrap();
            let found =
                find().unwrap().copy(range.start as u64..range.end as u64, &copy, &mut [0; PART]).unwrap();
            assert_eq!(found, digest(&bytes[range.clone()]));
            let mut copied = vec![0; range.len()];
            copy.read_exact_at(&mut copied, range.start as u64).unwrap();
            assert!(copied == bytes[range]);
        }
        fs::write(&path, &bytes[1..]).unwrap();
        assert!(find().is_none());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(find().is_none());
    }
}
