//! Recordings of `programs/tiny.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rrtest_engine::record::{self, Recording, Time};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::Event;
use rrtest_preload::flags;
use tempfile::TempDir;

use crate::common::{options, program};

/// The programs that are altered, each with the strategy under which it is recorded.
pub(crate) const PROGRAMS: &[(&str, StrategyName)] = &[
    ("calls", StrategyName::Walk),
    ("memory", StrategyName::Walk),
    ("threads", StrategyName::Walk),
    ("threads", StrategyName::Fair),
    ("ticks", StrategyName::Walk),
    ("processes", StrategyName::Walk),
    ("signals", StrategyName::Walk),
    ("reads", StrategyName::Fair),
    ("traps", StrategyName::Fair),
    ("executes", StrategyName::Fair),
];

/// A recording, and its events.
pub(crate) struct Recorded {
    pub(crate) name: &'static str,
    pub(crate) recording: Recording,
    pub(crate) events: Vec<Event>,
}

/// Records a program.
pub(crate) fn record(name: &'static str, strategy: StrategyName) -> Recorded {
    let path = compiled();
    let program = program(path, &[name], path.parent().expect("a directory"));
    let options = record::Options { time: Time::Virtual, ..options(strategy, 3) };
    let recording = record::record(&program, &options).expect("a recording");
    let events = recording.log.events().collect::<Result<_, _>>().expect("events");
    Recorded { name, recording, events }
}

/// The program, linked with the runtime by the C compiler that rustc links with, too.
fn compiled() -> &'static Path {
    static COMPILED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COMPILED.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tiny");
        compile(&path);
        (directory, path)
    });
    path
}

fn compile(path: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runtime = path.with_extension("o");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let source = here.with_file_name("preload").join("src/lib.rs");
    run(Command::new(rustc).args(flags::RUNTIME).arg("-o").arg(&runtime).arg(source));
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-w", "-nostdlib", "-static", "-no-pie", "-ffreestanding", "-fno-stack-protector"]);
    cc.args(["-fcf-protection=none", "-Wl,--eh-frame-hdr,--build-id=none", "-s", "-o"]);
    run(cc.arg(path).arg(here.join("tests/programs/tiny.c")).arg(&runtime));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
