//! Makes a trace stand alone.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;

use super::layout::{Header, Place, StoredBlock, StoredFile};
use super::unnamed::Unnamed;
use super::writer::{Writer, refused};
use crate::trace::{Trace, TraceError};

/// Bytes copied at a time.
const PART: usize = 1 << 20;

/// Writes a trace that needs others beside it as one that stands alone, into an empty file. It is as verified as it
/// was.
///
/// # Errors
/// If one of the others is not there, anything is damaged, or the file cannot take it.
pub fn pack(trace: &Trace, out: &Unnamed) -> Result<(), TraceError> {
    let mut index = trace.index().clone();
    let mut at = copy(trace, out)?;
    // What is mapped and attached is stored once.
    let mut mapped = HashMap::new();
    for file in &mut index.files {
        for (number, stored) in beside_blocks(file) {
            mapped.insert(stored.digest, at);
            at = bring(trace, file, number, out, at)?;
        }
    }
    for file in &mut index.attached {
        for (number, stored) in beside_blocks(file) {
            match mapped.remove(&stored.digest) {
                Some(at) => file.put(number, Place::Here(at)),
                None => at = bring(trace, file, number, out, at)?,
            }
        }
    }
    index.beside.clear();
    Writer::at(out, at).index(&index, trace.verified())
}

/// The blocks of a file that another trace has.
fn beside_blocks(file: &StoredFile) -> Vec<(u64, StoredBlock)> {
    let blocks = file.blocks.iter().filter(|(_, block)| block.here().is_none());
    blocks.map(|(number, block)| (*number, *block)).collect()
}

/// Brings a block of another trace into this one, at an offset. Returns where it ends.
fn bring(
    trace: &Trace,
    file: &mut StoredFile,
    number: u64,
    out: &Unnamed,
    at: u64,
) -> Result<u64, TraceError> {
    let (block, _) = trace.file_blocks().stored(file, &file.blocks[&number])?;
    let bytes = block.at(at);
    out.file().write_all_at(&bytes, at).map_err(|source| refused(out, at, source))?;
    file.put(number, Place::Here(at));
    Ok(at + bytes.len() as u64)
}

/// Copies all in front of the index. Returns where that ends.
///
/// # Errors
/// If the trace cannot be read, or the file cannot take it.
pub(super) fn copy(trace: &Trace, out: &Unnamed) -> Result<u64, TraceError> {
    let (mut at, end) = (Header::LEN as u64, trace.start_of_index());
    let blocks = trace.file_blocks();
    let mut buffer = vec![0; PART];
    while at < end {
        let part = &mut buffer[..PART.min((end - at) as usize)];
        let read = blocks.file().read_exact_at(part, at);
        read.map_err(|source| TraceError::Read { path: blocks.path().to_owned(), source })?;
        out.file().write_all_at(part, at).map_err(|source| refused(out, at, source))?;
        at += part.len() as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trace::BLOCK;
    use crate::trace::file::testing::Mapped::Bytes;
    use crate::trace::file::testing::{kept, noise, size};
    use crate::trace::{Source, testing};

    #[test]
    fn what_another_trace_has_is_not_stored_again_until_it_is_packed() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| directory.path().join(name));
        let (common, own) = (noise(1, BLOCK * 5 / 2), noise(2, 1000));
        kept(&one, &[Bytes(&common)], &[]);
        let (second, ranges) = kept(&two, &[Bytes(&own), Bytes(&common)], &[&one]);
        assert!(
            second.beside() == ["one"] && size(&two) < 50_000,
            "{} {}",
            second.beside().len(),
            size(&two)
        );
        let same = |trace: &Trace| {
            assert_eq!(*trace.file(ranges[0]).unwrap(), *own);
            assert_eq!(*trace.file(ranges[1]).unwrap(), *common);
            assert_eq!(trace.events().count(), testing::every_kind().len());
            let prefetch = trace.prefetch();
            assert!(prefetch.take(ranges[0].file).unwrap().is_some());
            prefetch.finish().unwrap();
        };
        same(&second);
        // One that needs another is nobody's other.
        let (third, _) = kept(&three, &[Bytes(&common)], &[&two]);
        assert!(third.beside().is_empty() && size(&three) > BLOCK);

        let packed = Unnamed::create(directory.path()).unwrap();
        pack(&second, &packed).unwrap();
        packed.replace(&two).unwrap();
        fs::remove_file(&one).unwrap();
        let packed = Trace::open(&two).unwrap();
        assert!(packed.beside().is_empty() && packed.verified());
        same(&packed);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn without_the_other_trace_the_error_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        let common = noise(1, 5000);
        kept(&one, &[Bytes(&common)], &[]);
        let (trace, ranges) = kept(&two, &[Bytes(&common)], &[&one]);
        let other = fs::read(&one).unwrap();
        for now in [None, Some(vec![0; 10_000]), Some(other[..other.len() / 2].to_vec())] {
            fs::remove_file(&one).unwrap();
            now.inspect(|now| fs::write(&one, now).unwrap());
            let trace = Trace::open(&two).unwrap();
            let error = trace.file(ranges[0]).unwrap_err().to_string();
            assert!(
                error.contains("has the contents of its files in `one`") && error.contains("pack"),
                "{error}"
            );
            let out = Unnamed::create(directory.path()).unwrap();
            assert!(matches!(pack(&trace, &out), Err(TraceError::Beside { .. })));
            fs::write(&one, &other).unwrap();
        }
        assert_eq!(*trace.file(ranges[0]).unwrap(), *common);
    }
}
