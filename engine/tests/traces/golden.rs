//! The traces in `tests/golden` replay, on whatever machine that is.
//!
//! There are some of each format that is read, in a folder named after it. `RRTEST_GOLDEN=make` makes those of this
//! version's format.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rrtest_engine::attach::{Wanted, attach};
use rrtest_engine::keep::keep;
use rrtest_engine::output::Output;
use rrtest_engine::replay::{self, Options};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::{FORMAT, OLDEST, Trace, TraceError};
use serde_json::json;

use crate::common::{GO_ON, core};
use crate::tiny;

/// The programs.
const PROGRAMS: &[(&str, StrategyName)] = &[
    ("calls", StrategyName::Walk),
    ("memory", StrategyName::Walk),
    ("threads", StrategyName::Fair),
    ("ticks", StrategyName::Walk),
    ("processes", StrategyName::Walk),
    ("reads", StrategyName::Fair),
    ("executes", StrategyName::Fair),
    ("signals", StrategyName::Walk),
];

/// What is attached to each, since format 11.
const ATTACHED: &[u8] = b"int main(void) { return 0; }\n";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests").join("golden")
}

/// What a program has written, as the trace's own description has it.
fn text(output: &Output) -> String {
    let parts = output.beginning().chain(output.end());
    parts.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}

fn make(name: &'static str, strategy: StrategyName, folder: &Path) {
    let path = folder.join(name).with_extension("rrtrace");
    if path.exists() {
        fs::remove_file(&path).expect("a file that can be replaced");
    }
    let recording = tiny::record(name, strategy).recording;
    let info = json!({ "output": text(&recording.output) });
    let kept = keep(&recording, &path, &info, core(), &GO_ON).expect("a trace");
    assert!(kept.divergence.is_none(), "{name}: {:?}", kept.divergence);
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("attached.c");
    fs::write(&source, ATTACHED).expect("a file");
    let left_out = attach(&path, &Wanted { files: &[source], ..Wanted::default() }, &[]).expect("a trace");
    assert!(left_out.is_empty());
}

/// What is attached to a trace, one file after the other.
pub(crate) fn attached(trace: &Trace) -> Result<Vec<u8>, TraceError> {
    let mut all = tempfile::tempfile().expect("a file");
    let mut contents = Vec::new();
    for file in trace.attached() {
        all.set_len(0).expect("an empty file");
        trace.extract(file.path, &all)?;
        all.rewind().expect("its beginning");
        all.read_to_end(&mut contents).expect("its contents");
    }
    Ok(contents)
}

fn check(path: &Path) {
    let name = path.display();
    let trace = Trace::open(path).unwrap_or_else(|error| panic!("{error}"));
    assert!(trace.verified(), "{name}");
    let mut output = Output::default();
    let options = Options {
        core: core(),
        stop: &GO_ON,
        patience: Duration::from_secs(120),
        watch: &[],
        output: &mut |stream, bytes| output.push(stream, bytes),
    };
    let replayed = replay::replay(&trace, options).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!((&replayed.ending, replayed.stats), (trace.ending(), trace.stats()), "{name}");
    assert_eq!(json!(text(&output)), trace.info()["output"], "{name}");
    let contents = attached(&trace).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(contents, if trace.format() < 11 { b"" } else { ATTACHED }, "{name}");
}

/// What is in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| {
        panic!(
            "{}: {error}\na new format needs golden traces of its own: see CONTRIBUTING.md",
            folder.display()
        )
    });
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn golden_traces_replay() {
    let newest = golden().join(FORMAT.to_string());
    if std::env::var_os("RRTEST_GOLDEN").is_some_and(|value| value == "make") {
        fs::create_dir_all(&newest).expect("a folder");
        PROGRAMS.iter().for_each(|(name, strategy)| make(name, *strategy, &newest));
    }
    assert_eq!(entries(&newest).len(), PROGRAMS.len());
    let formats = entries(&golden());
    formats.iter().flat_map(|folder| entries(folder)).for_each(|path| check(&path));
    let read: Vec<_> = formats.iter().map(|folder| folder.file_name().expect("a name").to_owned()).collect();
    for format in OLDEST..=FORMAT {
        assert!(read.contains(&format.to_string().into()), "there are no golden traces of format {format}");
    }
}
