//! The files that a trace carries, where they still are as they were: on the machine that recorded it.
//!
//! To read a block of a file and take its digest is several times as fast as to decompress it, and a debug build has many
//! megabytes of them. What does not have the digest that the trace tells is not used, so that the file may have become anything.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use twox_hash::XxHash3_128;

use super::block::BLOCK;
use super::file::{StoredBlock, StoredFile};
use super::mapped::read_range_into;

/// What tells whether a block of a file is still the same.
pub(super) fn digest(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// The files by their numbers, as they are needed; none for one that is not as it was.
#[derive(Debug, Default)]
pub(super) struct Originals {
    open: RefCell<HashMap<u32, Option<File>>>,
}

impl Originals {
    /// Read block `number` of a file, and tell whether it is there.
    pub(super) fn read(
        &self,
        bytes: &mut Vec<u8>,
        id: u32,
        file: &StoredFile,
        number: u64,
        block: &StoredBlock,
    ) -> bool {
        let mut open = self.open.borrow_mut();
        let place = open.entry(id).or_insert_with(|| original(file));
        let Some(original) = place else { return false };
        let offset = number.saturating_mul(BLOCK);
        let read = read_range_into(bytes, original, file.size, offset, BLOCK);
        let same = read.is_ok() && digest(bytes) == block.digest;
        if !same {
            *place = None;
        }
        same
    }
}

/// The file of this name, if it can be the one.
fn original(file: &StoredFile) -> Option<File> {
    // Not to wait for a writer, should it be a FIFO by now.
    let original =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(Path::new(&file.path)).ok()?;
    let metadata = original.metadata().ok()?;
    (metadata.is_file() && metadata.len() == file.size).then_some(original)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_used_only_as_long_as_it_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mapped");
        let bytes: Vec<u8> = (0..BLOCK + 5).map(|at| at as u8).collect();
        let file = StoredFile { path: path.clone().into(), size: BLOCK + 5, blocks: [].into() };
        let block = StoredBlock { at: 0, digest: digest(&bytes[BLOCK as usize..]) };
        let try_read = |block| {
            let mut bytes = vec![1; 9];
            Originals::default().read(&mut bytes, 0, &file, 1, block).then_some(bytes)
        };
        let read = || try_read(&block);

        assert_eq!(read(), None);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read().as_deref(), Some(&bytes[BLOCK as usize..]));
        let other = StoredBlock { digest: block.digest ^ 1, ..block };
        assert_eq!(try_read(&other), None);
        fs::write(&path, &bytes[1..]).unwrap();
        assert_eq!(read(), None);
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(), None);
    }
}
