//! Recordings of `programs/tiny.c`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_engine::program::Program;
use rrtest_engine::record::{self, Outsiders, Recording, Stdin, Time};
use rrtest_engine::schedule::surprise::Surprises;
use rrtest_engine::schedule::{StrategyName, portfolio};
use rrtest_engine::trace::Source;
use rrtest_engine::trace::event::Event;
use rrtest_preload::flags;
use tempfile::TempDir;

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
    let measured = portfolio::Measured { ticks: 100, ..Default::default() };
    let options = record::Options {
        plan: portfolio::plan(portfolio::seed(3, 0, strategy, &measured), &[]),
        measure: false,
        time: Time::Virtual,
        processor: rrtest_engine::record::Processor::V2,
        surprises: Surprises::NONE,
        core: core(),
        pretend_cores: 2,
        timeout: Duration::from_secs(120),
        patience: None,
        until: None,
        stdin: Stdin::Null,
        listener: None,
        watchdog_main: false,
        outsiders: Outsiders::StayAway,
        end: None,
        wakes_stop: false,
        calls_stop: false,
        stop: &AtomicBool::new(false),
    };
    let program = Program {
        path: path.to_owned(),
        args: vec![name.into()],
        env: Vec::new(),
        cwd: path.parent().expect("a directory").to_owned(),
    };
    let recording = record::record(&program, &options).expect("a recording");
    let events = recording.log.events().collect::<Result<_, _>>().expect("events");
    Recorded { name, recording, events }
}

/// The first core that we may use.
pub(crate) fn core() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).find(|core| set.is_set(*core).unwrap_or(false)).expect("a core")
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
