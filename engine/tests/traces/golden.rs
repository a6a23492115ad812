//! The traces in `tests/golden` replay, on whatever machine that is.
//!
//! They are of this format version. `RRTEST_GOLDEN=make` makes them anew, which a new one asks for.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rrtest_engine::keep::keep;
use rrtest_engine::output::Output;
use rrtest_engine::replay::{self, Options};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::Trace;
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

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests").join(format!("golden/{name}.rrtrace"))
}

/// What a program has written, as the trace's own description has it.
fn text(output: &Output) -> String {
    let parts = output.beginning().chain(output.end());
    parts.map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}

fn make(name: &'static str, strategy: StrategyName) {
    let path = path(name);
    if path.exists() {
        fs::remove_file(&path).expect("a file that can be replaced");
    }
    let recording = tiny::record(name, strategy).recording;
    let info = json!({ "output": text(&recording.output) });
    let kept = keep(&recording, &path, &info, core(), &GO_ON).expect("a trace");
    assert!(kept.divergence.is_none(), "{name}: {:?}", kept.divergence);
}

fn check(name: &str) {
    let trace = Trace::open(&path(name)).unwrap_or_else(|error| {
        panic!("{error}\na new format version needs new golden traces: see CONTRIBUTING.md")
    });
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
}

#[test]
fn golden_traces_replay() {
    if std::env::var_os("RRTEST_GOLDEN").is_some_and(|value| value == "make") {
        PROGRAMS.iter().for_each(|(name, strategy)| make(name, *strategy));
    }
    PROGRAMS.iter().for_each(|(name, _)| check(name));
}
