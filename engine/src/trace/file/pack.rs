//! Makes a trace stand alone.

use std::io;
use std::os::unix::fs::FileExt;

use super::layout::{Header, Place};
use super::unnamed::Unnamed;
use super::writer::{Writer, refused};
use crate::trace::{Trace, TraceError};

/// Bytes copied at a time.
const PART: usize = 1 << 20;

/// Writes a trace that needs others beside it as one that stands alone, into an empty file. It is as verified as it was.
///
/// # Errors
/// If one of the others is not there, anything is damaged, or the file cannot take it.
pub fn pack(trace: &Trace, out: &Unnamed) -> Result<(), TraceError> {
    let mut index = trace.index().clone();
    let mut at = copy(trace, out).map_err(|source| refused(out, 0, source))?;
    for file in &mut index.files {
        for number in file.blocks.keys().copied().collect::<Vec<_>>() {
            let stored = file.blocks[&number];
            if stored.here().is_some() {
                continue;
            }
            let (block, _) = trace.file_blocks().stored(file, &stored)?;
            let bytes = block.at(at);
            out.file().write_all_at(&bytes, at).map_err(|source| refused(out, at, source))?;
            file.blocks.entry(number).and_modify(|block| block.at = Place::Here(at));
            at += bytes.len() as u64;
        }
    }
    index.beside.clear();
    Writer::at(out, at).index(&index, trace.verified())
}

/// Copies all in front of the index. Returns where that ends.
fn copy(trace: &Trace, out: &Unnamed) -> io::Result<u64> {
    let (mut at, end) = (Header::LEN as u64, trace.start_of_index());
    let mut buffer = vec![0; PART];
    while at < end {
        let part = PART.min((end - at) as usize);
        trace.file_blocks().file().read_exact_at(&mut buffer[..part], at)?;
        out.file().write_all_at(&buffer[..part], at)?;
        at += part as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::ending::{Ending, Stats};
    use crate::program::Program;
    use crate::trace::BLOCK;
    use crate::trace::event::FileRange;
    use crate::trace::file::writer::{self, Head};
    use crate::trace::log::Log;
    use crate::trace::{Source, testing};

    fn head() -> Head {
        let program = Program { path: "/p".into(), args: Vec::new(), env: Vec::new(), cwd: "/".into() };
        Head { program, ending: Ending::Exited(0), stats: Stats::default(), info: serde_json::Value::Null }
    }

    /// Keeps a recording that has mapped files with these contents. Returns the trace and the ranges.
    fn kept(path: &Path, files: &[&[u8]], beside: &[&Path]) -> (Trace, Vec<FileRange>) {
        let mut log = Log::default();
        testing::every_kind().into_iter().for_each(|event| log.push(event));
        let map = |contents: &&[u8]| {
            let file = log.map_bytes(Path::new("/no/such/file"), contents.to_vec());
            FileRange { file, offset: 0, len: contents.len() as u64 }
        };
        let ranges = files.iter().map(map).collect();
        let beside: Vec<_> = beside.iter().map(|path| Trace::open(path).unwrap()).collect();
        let out = Unnamed::create(path.parent().unwrap()).unwrap();
        writer::write(&log, &head(), &beside, &out).unwrap();
        writer::mark_verified(&out).unwrap();
        out.name(path).unwrap();
        (Trace::open(path).unwrap(), ranges)
    }

    /// Bytes that do not compress.
    fn noise(seed: u64, len: u64) -> Vec<u8> {
        let step = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some((*state >> 56) as u8)
        };
        std::iter::successors(Some(seed), |_| None)
            .flat_map(|mut state| std::iter::from_fn(move || step(&mut state)))
            .take(len as usize)
            .collect()
    }

    fn size(path: &Path) -> u64 {
        path.metadata().unwrap().len()
    }

    #[test]
    fn what_another_trace_has_is_not_stored_again_until_it_is_packed() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two, three] = ["one", "two", "three"].map(|name| directory.path().join(name));
        let (common, own) = (noise(1, BLOCK * 5 / 2), noise(2, 1000));
        kept(&one, &[&common], &[]);
        let (second, ranges) = kept(&two, &[&own, &common], &[&one]);
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
        let (third, _) = kept(&three, &[&common], &[&two]);
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
        kept(&one, &[&common], &[]);
        let (trace, ranges) = kept(&two, &[&common], &[&one]);
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
