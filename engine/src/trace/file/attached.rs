//! Files that a trace carries for who debugs or explains the failure: programs and libraries whole, with their debug
//! information, and sources. Replay needs none of them.
//!
//! They are added once the trace is kept: nobody waits for them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::damage::damaged;
use super::layout::{Place, StoredBlock, StoredFile};
use super::originals::digest;
use super::pack::copy;
use super::reader::FILES_LIMIT;
use super::regular;
use super::unnamed::Unnamed;
use super::writer::{Known, Part, Writer, Written};
use super::{Trace, file_blocks};
use crate::trace::{BLOCK, TraceError};

/// An attached file has at most so many bytes: a crafted trace, whose few blocks may expand to many, must not fill a disk.
/// All that are attached have no more either, which every reader takes.
const LIMIT: u64 = FILES_LIMIT;

/// A file to attach.
#[derive(Debug)]
pub struct Attachment {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Attachment {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (file, metadata) = regular::open(path)?;
        Ok(Self { path: path.to_owned(), file, size: metadata.len() })
    }

    fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        let start = number * BLOCK;
        let mut bytes = vec![0; BLOCK.min(self.size - start) as usize];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Whether it is the file of which the trace has these parts.
    fn is(&self, mapped: &StoredFile) -> io::Result<bool> {
        if self.size != mapped.size {
            return Ok(false);
        }
        for (number, block) in &mapped.blocks {
            if number.saturating_mul(BLOCK) >= self.size || digest(&self.read(*number)?) != block.digest {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Writes a trace with these files attached, in place of those it had, into an empty file. It is as verified as it
/// was. Contents that these traces in the same directory have are left out, unless those need others themselves. A
/// mapped file that has changed since it was mapped or just before is left out, as is one that cannot be read, or for which
/// the others leave no room: their paths are returned.
///
/// # Errors
/// If the trace is damaged, or the file cannot take it.
pub fn attach(
    trace: &Trace,
    attachments: &[Attachment],
    beside: &[Trace],
    out: &Unnamed,
) -> Result<Vec<PathBuf>, TraceError> {
    let mut index = trace.index().clone();
    let at = copy(trace, out)?;
    let known = Known::of(beside);
    let mapped = index.files.iter().flat_map(|file| file.blocks.values());
    // Each is that of one attached file at most, as if it were not shared.
    let mut mapped: HashMap<u128, Place> = mapped.map(|block| (block.digest, block.at)).collect();
    let mut writer = Writer::at(out, at);
    let mut blocks = writer.helped()?;
    let mut left_out = Vec::new();
    let mut room = LIMIT;
    let mut files: Vec<(&Attachment, Vec<Part>)> = Vec::new();
    for attachment in attachments {
        let same = index.files.iter().filter(|file| Path::new(&file.path) == attachment.path);
        let is_same = same.map(|file| attachment.is(file)).try_fold(true, |all, one| Ok(all & one?));
        let is_same: io::Result<bool> = is_same;
        let mut parts = Vec::new();
        let mut read = is_same.unwrap_or(false) && attachment.size <= room;
        for number in 0..if read { attachment.size.div_ceil(BLOCK) } else { 0 } {
            let Ok(bytes) = attachment.read(number) else {
                read = false;
                break;
            };
            let digest = digest(&bytes);
            parts.push(match mapped.remove(&digest) {
                Some(place) => Part { number, at: Written::Mapped(place), digest },
                None => writer.part(&mut blocks, number, &bytes, &known)?,
            });
        }
        if read {
            room -= attachment.size;
            files.push((attachment, parts));
        } else {
            left_out.push(attachment.path.clone());
        }
    }
    let used = known.used_by(files.iter_mut().flat_map(|(_, parts)| parts));
    let bounds = writer.finish(blocks)?;
    let numbers: Vec<u32> = used.into_iter().map(|name| number_of(name, &mut index.beside)).collect();
    index.attached = files
        .into_iter()
        .map(|(attachment, parts)| StoredFile {
            path: attachment.path.clone().into_os_string(),
            size: attachment.size,
            blocks: parts.into_iter().map(|part| stored(part, &bounds, &numbers)).collect(),
        })
        .collect();
    writer.index(&index, trace.verified())?;
    Ok(left_out)
}

/// Returns the number of the trace beside that has this name, which is added if it is new.
fn number_of(name: OsString, beside: &mut Vec<OsString>) -> u32 {
    let known = beside.iter().position(|other| *other == name);
    known.unwrap_or_else(|| {
        beside.push(name);
        beside.len() - 1
    }) as u32
}

/// Where a part is, now that the blocks have their bounds.
fn stored(Part { number, at, digest }: Part, bounds: &[u64], numbers: &[u32]) -> (u64, StoredBlock) {
    let at = match at {
        Written::Block(block) => Place::Here(bounds[block]),
        Written::Mapped(place) => place,
        Written::Beside(Place::Beside { trace, at }) => Place::Beside { trace: numbers[trace as usize], at },
        Written::Beside(here @ Place::Here(_)) => here,
    };
    (number, StoredBlock { at, digest })
}

impl Trace {
    /// Whether the file of this path is on this machine, and has the contents that are recorded of it.
    #[must_use]
    pub fn is_recorded(&self, path: &Path) -> bool {
        let mut mapped = self.index().files.iter().filter(|file| Path::new(&file.path) == path).peekable();
        let here = mapped.peek().and_then(|_| Attachment::open(path).ok());
        here.is_some_and(|here| mapped.all(|file| here.is(file).unwrap_or(false)))
    }

    /// Writes an attached file of this name to another file.
    ///
    /// # Errors
    /// If the trace has none, is damaged or needs another that is not there; [`TraceError::Write`] if the file cannot
    /// take it.
    pub fn extract(&self, path: &Path, to: &File) -> Result<(), TraceError> {
        let here = self.file_blocks().path();
        let Some(file) = self.index().attached.iter().find(|file| Path::new(&file.path) == path) else {
            return Err(damaged(here, "index", &format!("{} is not attached", path.display())));
        };
        if file.size > LIMIT {
            return Err(damaged(here, &format!("size of `{}`", path.display()), "it is larger than can be"));
        }
        for number in 0..file.size.div_ceil(BLOCK) {
            let contents = file.blocks.get(&number).map(|block| self.file_blocks().read(file, block));
            let bytes = contents.transpose()?.unwrap_or_default();
            if bytes.len() as u64 != file_blocks::block_len(file, number) {
                return Err(damaged(here, &format!("contents of `{}`", path.display()), "a part is missing"));
            }
            to.write_all_at(&bytes, number * BLOCK).map_err(|source| TraceError::Write {
                directory: std::env::temp_dir(),
                written: number * BLOCK,
                source,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trace::file::pack;
    use crate::trace::file::testing::Mapped::Part;
    use crate::trace::file::testing::{kept, noise, size};

    /// Attaches files to a trace, in place.
    fn attach_to(path: &Path, files: &[&Path], beside: &[&Path]) -> Vec<PathBuf> {
        let attachments: Vec<_> = files.iter().map(|file| Attachment::open(file).unwrap()).collect();
        let beside: Vec<_> = beside.iter().map(|path| Trace::open(path).unwrap()).collect();
        let out = Unnamed::create(path.parent().unwrap()).unwrap();
        let left_out = attach(&Trace::open(path).unwrap(), &attachments, &beside, &out).unwrap();
        out.replace(path).unwrap();
        left_out
    }

    /// Writes a file that was not modified just now: of one that was, the recording has a copy of its own.
    fn write(path: &Path, contents: &[u8]) {
        fs::write(path, contents).unwrap();
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }

    fn extracted(trace: &Path, file: &Path) -> Result<Vec<u8>, TraceError> {
        let to = tempfile::NamedTempFile::new().unwrap();
        Trace::open(trace)?.extract(file, to.as_file())?;
        Ok(fs::read(to.path()).unwrap())
    }

    #[test]
    fn what_is_attached_is_whole_and_what_is_mapped_of_it_is_stored_once() {
        let directory = tempfile::tempdir().unwrap();
        let [trace, program, source] = ["trace", "program", "source"].map(|name| directory.path().join(name));
        let contents = noise(1, 3 * BLOCK + 7);
        write(&program, &contents);
        fs::write(&source, "fn main() {}").unwrap();
        let (before, _) = kept(&trace, &[Part(&program, BLOCK)], &[]);
        let small = size(&trace);

        assert!(attach_to(&trace, &[&program, &source], &[]).is_empty());
        assert_eq!(extracted(&trace, &program).unwrap(), contents);
        assert_eq!(extracted(&trace, &source).unwrap(), b"fn main() {}");
        let added = size(&trace) - small;
        assert!((2 * BLOCK..3 * BLOCK).contains(&added), "{added}");
        let after = Trace::open(&trace).unwrap();
        assert!(after.verified() && after.count() == before.count());
        let attached: Vec<_> = after.attached().map(|file| (file.path, file.bytes)).collect();
        assert_eq!(attached, [(program.as_path(), 3 * BLOCK + 7), (source.as_path(), 12)]);
        let stored: u64 = after.attached().chain(after.files()).map(|file| file.stored).sum();
        assert!(stored < size(&trace) && stored > 3 * BLOCK, "{stored}");

        // What was attached before is so no more.
        assert!(attach_to(&trace, &[&source], &[]).is_empty());
        let error = extracted(&trace, &program).unwrap_err().to_string();
        assert!(error.contains("is not attached"), "{error}");
    }

    #[test]
    fn traces_share_what_is_attached_until_one_is_packed() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, program] = ["one", "two", "program"].map(|name| directory.path().join(name));
        let contents = noise(1, 2 * BLOCK);
        write(&program, &contents);
        kept(&one, &[Part(&program, 100)], &[]);
        attach_to(&one, &[&program], &[]);
        kept(&two, &[Part(&program, 100)], &[&one]);
        attach_to(&two, &[&program], &[&one]);
        let second = Trace::open(&two).unwrap();
        assert!(second.beside() == ["one"] && size(&two) < 50_000, "{:?} {}", second.beside(), size(&two));
        assert_eq!(extracted(&two, &program).unwrap(), contents);

        let packed = Unnamed::create(directory.path()).unwrap();
        pack(&second, &packed).unwrap();
        packed.replace(&two).unwrap();
        fs::remove_file(&one).unwrap();
        assert!(Trace::open(&two).unwrap().beside().is_empty());
        assert_eq!(extracted(&two, &program).unwrap(), contents);
        assert!(size(&two) < 2 * BLOCK + 50_000, "what is mapped and attached is stored once");
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let [trace, huge, source] = ["trace", "huge", "source"].map(|name| directory.path().join(name));
        kept(&trace, &[], &[]);
        File::create(&huge).unwrap().set_len(LIMIT + 1).unwrap();
        fs::write(&source, "text").unwrap();
        assert_eq!(attach_to(&trace, &[&huge, &source], &[]), [huge]);
        assert_eq!(extracted(&trace, &source).unwrap(), b"text");
    }

    #[test]
    fn a_file_that_has_changed_since_it_was_mapped_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let [trace, program, source] = ["trace", "program", "source"].map(|name| directory.path().join(name));
        write(&program, &noise(1, 5000));
        fs::write(&source, "text").unwrap();
        kept(&trace, &[Part(&program, 5000)], &[]);
        write(&program, &noise(2, 5000));
        assert_eq!(attach_to(&trace, &[&program, &source], &[]), [program]);
        assert_eq!(extracted(&trace, &source).unwrap(), b"text");
    }
}
