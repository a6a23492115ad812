//! Trace files for tests.

use std::fs::File;
use std::path::Path;

use super::Trace;
use super::unnamed::Unnamed;
use super::writer::{self, Head};
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::trace::event::FileRange;
use crate::trace::log::Log;
use crate::trace::testing;

/// What a recording has mapped.
pub(super) enum Mapped<'a> {
    /// Something with these contents that is no file.
    Bytes(&'a [u8]),
    /// So many bytes of a file.
    Part(&'a Path, u64),
}

/// Keeps a recording that has mapped this. Returns the trace and the ranges.
pub(super) fn kept(path: &Path, mapped: &[Mapped<'_>], beside: &[&Path]) -> (Trace, Vec<FileRange>) {
    let mut log = Log::default();
    testing::every_kind().into_iter().for_each(|event| log.push(event));
    let map = |mapped: &Mapped<'_>| match mapped {
        Mapped::Bytes(contents) => {
            let file = log.map_bytes(Path::new("/no/such/file"), contents.to_vec());
            FileRange { file, offset: 0, len: contents.len() as u64 }
        }
        Mapped::Part(path, len) => log.map_file(path, File::open(path).unwrap(), 0, *len).unwrap(),
    };
    let ranges = mapped.iter().map(map).collect();
    let beside: Vec<_> = beside.iter().map(|path| Trace::open(path).unwrap()).collect();
    let out = Unnamed::create(path.parent().unwrap()).unwrap();
    writer::write(&log, &head(), &beside, &out).unwrap();
    writer::mark_verified(&out).unwrap();
    out.name(path).unwrap();
    (Trace::open(path).unwrap(), ranges)
}

fn head() -> Head {
    let program = Program { path: "/p".into(), args: Vec::new(), env: Vec::new(), cwd: "/".into() };
    Head { program, ending: Ending::Exited(0), stats: Stats::default(), info: serde_json::Value::Null }
}

/// Returns bytes that do not compress.
pub(super) fn noise(seed: u64, len: u64) -> Vec<u8> {
    let step = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::successors(Some(seed), |_| None)
        .flat_map(|mut state| std::iter::from_fn(move || step(&mut state)))
        .take(len as usize)
        .collect()
}

/// Returns the size of a file in bytes.
pub(super) fn size(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}
