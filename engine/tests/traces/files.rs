//! Altered trace files: whatever is altered, they are read, put in words and replayed without harm.
//!
//! `RRTEST_FUZZ=N` makes N of each golden trace, `RRTEST_FUZZ_SEED` others.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use rrtest_engine::Error;
use rrtest_engine::disclosed::Disclosed;
use rrtest_engine::record::Processor;
use rrtest_engine::replay::{self, Options};
use rrtest_engine::syscalls;
use rrtest_engine::trace::event::{Event, FileId, FileRange};
use rrtest_engine::trace::file::unnamed::Unnamed;
use rrtest_engine::trace::file::writer::{self, Head};
use rrtest_engine::trace::log::Log;
use rrtest_engine::trace::{FORMAT, Source, Trace, TraceError};

use crate::altered::{Outcome, guarded};
use crate::common::{GO_ON, core};
use crate::forged::{Forged, scramble};
use crate::golden::attached;
use crate::{fields, fuzz, heap};

/// How many alterations of each trace are tried.
const CASES: u64 = 60;

/// How long a replay may take from one event to the next: what is altered can make it wait for what never comes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that may be allocated at a time: the golden traces have some kilobytes, and what is read of a trace is
/// bounded.
const MEMORY: usize = 256 << 20;

/// A golden trace, and what it has.
struct Golden {
    name: String,
    bytes: Vec<u8>,
    forged: Forged,
    head: Head,
    processor: Processor,
    events: Vec<Event>,
    files: Vec<Vec<u8>>,
}

fn all_golden() -> Vec<Golden> {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests").join(format!("golden/{FORMAT}"));
    let paths = fs::read_dir(directory).expect("golden traces").map(|entry| entry.expect("a trace").path());
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths.iter().map(|path| Golden::of(path)).collect()
}

impl Golden {
    fn of(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a trace");
        let trace = Trace::open(path).expect("a trace of this format");
        let whole = |number| FileRange { file: FileId(number), offset: 0, len: u64::MAX };
        let files = 0..trace.files().count() as u32;
        Self {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            forged: Forged::of(&bytes),
            processor: trace.machine().processor().expect("a processor that we know"),
            bytes,
            head: Head {
                program: trace.program().clone(),
                ending: trace.ending().clone(),
                stats: trace.stats(),
                info: trace.info().clone(),
            },
            events: trace.events().collect::<Result<_, _>>().expect("events"),
            files: files.map(|number| trace.file(whole(number)).expect("a file").to_vec()).collect(),
        }
    }

    /// The trace with other events.
    fn with(&self, events: Vec<Event>) -> Vec<u8> {
        let mut log = Log::default().with_processor(self.processor);
        for file in &self.files {
            let _number = log.map_bytes(Path::new("a file"), file.clone());
        }
        events.into_iter().for_each(|event| log.push(event));
        let out = Unnamed::create(&std::env::temp_dir()).expect("a file");
        writer::write(&log, &self.head, &[], &out).expect("a trace");
        let mut bytes = vec![0; out.file().metadata().expect("its length").len() as usize];
        out.file().read_exact_at(&mut bytes, 0).expect("a trace");
        bytes
    }
}

/// An alteration, in words, and the trace that comes of it.
fn alteration(random: &mut Xoshiro256PlusPlus, golden: &Golden, other: &Golden) -> Option<(String, Vec<u8>)> {
    match random.next_u32() % 10 {
        0 | 1 => {
            let mut bytes = golden.bytes.clone();
            scramble(&mut || random.next_u64(), &mut bytes);
            Some(("bytes".to_owned(), bytes))
        }
        2 | 3 => {
            let mut forged = golden.forged.clone();
            let at = random.next_u32() as usize % forged.blocks.len();
            scramble(&mut || random.next_u64(), &mut forged.blocks[at]);
            Some((format!("block {at}"), forged.bytes()))
        }
        4 | 5 => {
            let (path, index) = fields::altered(random, &golden.forged.index)?;
            let forged = Forged { index, ..golden.forged.clone() };
            Some((format!("index: {path}"), forged.bytes()))
        }
        _ => {
            let (at, what, events) = fuzz::alteration(random, &golden.events, &other.events)?;
            Some((format!("event {at}: {what}"), golden.with(events)))
        }
    }
}

/// Opens a trace of these bytes.
fn open(bytes: &[u8]) -> Result<Trace, TraceError> {
    let mut file = File::from(memfd_create(c"trace", MFdFlags::empty()).expect("a file"));
    file.write_all(bytes).expect("a file that can be written");
    Trace::from_file(file, Path::new("altered"))
}

/// Reads, describes and replays a trace.
fn try_all(bytes: &[u8]) -> Outcome {
    let trace = match open(bytes) {
        Ok(trace) => trace,
        Err(error) => return Outcome::Damaged(error.to_string()),
    };
    let names = |number| syscalls::describe(number).map(|call| call.name());
    let words: usize =
        trace.events().map_while(Result::ok).map(|event| event.describe(names).to_string().len()).sum();
    let read = Disclosed::of(&trace).map_or(0, |disclosed| disclosed.read.iter().len());
    let files: u64 = trace.files().fold((words + read) as u64, |sum, file| sum.saturating_add(file.stored));
    // What cannot be read is refused here as well.
    let attached = attached(&trace).map_or(0, |contents| contents.len() as u64);
    std::hint::black_box(files.saturating_add(attached));
    let options =
        Options { core: core(), stop: &GO_ON, patience: PATIENCE, watch: &[], output: &mut |_, _| {} };
    match replay::replay(&trace, options) {
        Ok(_) => Outcome::Same,
        Err(Error::Diverged(divergence)) => Outcome::Diverged(*divergence),
        Err(Error::Trace(error)) => Outcome::Damaged(error.to_string()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

#[test]
fn no_altered_file_does_harm() {
    /// Says that the process has this test alone: what others allocate beside it would count, too.
    const ALONE: &str = "RRTEST_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().expect("this program");
        let alone = Command::new(this)
            .args(["--exact", "files::no_altered_file_does_harm", "--nocapture"])
            .env(ALONE, "")
            .output()
            .expect("a run of this test");
        let said = [String::from_utf8_lossy(&alone.stdout), String::from_utf8_lossy(&alone.stderr)].concat();
        assert!(alone.status.success() && said.contains("1 passed"), "{}\n{said}", alone.status);
        print!("{said}");
        return;
    }
    let all = all_golden();
    let cases = fuzz::setting("RRTEST_FUZZ").unwrap_or(CASES);
    let seed = fuzz::setting("RRTEST_FUZZ_SEED").unwrap_or(0);
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<_, u64>::new());
    for (golden, other) in all.iter().zip(all.iter().cycle().skip(1)) {
        let sound = guarded(&golden.name, || try_all(&golden.with(golden.events.clone())));
        assert!(matches!(sound, Outcome::Same), "{}: {sound:?}", golden.name);
        for case in 0..cases {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed << 32 | case);
            let Some((what, bytes)) = alteration(&mut random, golden, other) else { continue };
            let what = format!("{}, case {case}: {what}", golden.name);
            let outcome = guarded(&what, || try_all(&bytes));
            let kind = match &outcome {
                Outcome::Same => "same",
                Outcome::Diverged(_) => "diverged",
                Outcome::Damaged(_) => "damaged",
                Outcome::Refused(_) => "refused",
                _ => {
                    wrong.push(format!("{what}: {outcome:?}"));
                    "wrong"
                }
            };
            *counts.entry(kind).or_default() += 1;
        }
    }
    println!("{counts:?}, at most {} KiB allocated at a time", heap::most() >> 10);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(heap::most() < MEMORY, "{} bytes were allocated at a time", heap::most());
}

/// What compresses well may not fill the memory of whoever reads it.
#[test]
fn few_bytes_do_not_become_many() {
    const BLOCK: usize = 1 << 20;
    let sound = &all_golden()[0].forged;
    let mut index = sound.clone();
    index.index.info = " ".repeat(64 * BLOCK);
    let mut event = sound.clone();
    event.blocks = vec![vec![0xff; BLOCK]; 64];
    event.index.events = (0, 64);
    event.index.entries = vec![(0, 0)];
    let mut shared = sound.clone();
    let file = shared.index.files.first_mut().expect("a file");
    let block = *file.blocks.values().next().expect("a block");
    file.blocks.extend((0..100_000).map(|number| (number, block)));
    for (forged, says) in [
        (index, "index: it is longer than can be"),
        (event, "event 0 is longer than can be"),
        (shared, "index: parts of files are in the same place"),
    ] {
        let outcome = guarded(says, || try_all(&forged.bytes()));
        assert!(matches!(&outcome, Outcome::Damaged(text) if text.contains(says)), "{outcome:?}");
    }
    let mut large = sound.clone();
    large.index.attached.first_mut().expect("a file").size = 5 << 30;
    let trace = open(&large.bytes()).expect("a trace");
    let error = attached(&trace).expect_err("more than can be").to_string();
    assert!(error.contains("it is larger than can be"), "{error}");
}
