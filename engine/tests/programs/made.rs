//! Recordings of C programs, for tests that look at their replays.

use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rrtest_engine::output::Output;
use rrtest_engine::program::Program;
use rrtest_engine::record::{self, Outsiders, Recording, Stdin, Time};
use rrtest_engine::replay::Options;
use rrtest_engine::schedule::surprise::Surprises;
use rrtest_engine::schedule::{StrategyName, portfolio};
use rrtest_engine::trace::event::Stream;
use rrtest_preload::layout::{AREA, SLOTS, SYS_HELLO, Shared, Slot, TICK};

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

static GO_ON: AtomicBool = AtomicBool::new(false);

/// A program of `tests/programs`, compiled.
pub(crate) fn compile(name: &str, directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let program = directory.join(name);
    let place = |name: &str, offset: usize| format!("-D{name}=\"{:#x}\"", AREA + offset);
    let status = Command::new("cc")
        .args(["-O1", "-D_GNU_SOURCE", "-pthread", "-w"])
        .args([
            place("COUNTDOWN", offset_of!(Shared, countdown)),
            place("TOUCHED", offset_of!(Shared, touched)),
            place("KIND", offset_of!(Shared, kind)),
            place("KEPT", offset_of!(Shared, kept)),
            place("TICK", TICK - AREA),
            format!("-DHELLO={SYS_HELLO}"),
            format!("-DSLOTS={SLOTS:#x}"),
            format!("-DREGISTERS={:#x}", offset_of!(Slot, registers)),
        ])
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("a C compiler, `cc`");
    assert!(status.success(), "cc fails on {}", source.display());
    program
}

pub(crate) fn record(
    path: &Path,
    args: &[&str],
    directory: &Path,
    strategy: StrategyName,
    seed: u64,
) -> Recording {
    let program = Program {
        path: path.to_owned(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        cwd: directory.to_owned(),
    };
    let measured = portfolio::Measured { ticks: 100, ..Default::default() };
    let options = record::Options {
        plan: portfolio::plan(portfolio::seed(seed.into(), 0, strategy, &measured), &[]),
        measure: false,
        time: Time::Real,
        processor: record::Processor::V2,
        surprises: Surprises::NONE,
        core: core(),
        pretend_cores: 2,
        timeout: PATIENCE,
        patience: None,
        until: None,
        stdin: Stdin::Null,
        listener: None,
        watchdog_main: false,
        outsiders: Outsiders::StayAway,
        end: None,
        wakes_stop: false,
        calls_stop: false,
        stop: &GO_ON,
    };
    record::record(&program, &options).expect("a recording")
}

/// How to replay, with the output going to `output`.
pub(crate) fn options<'a>(output: &'a mut dyn FnMut(Stream, &[u8])) -> Options<'a> {
    Options { core: core(), stop: &GO_ON, patience: PATIENCE, watch: &[], output }
}

pub(crate) fn text(output: &Output) -> String {
    output.beginning().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}

/// The first core that we may use.
fn core() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).find(|core| set.is_set(*core).unwrap_or(false)).expect("a core")
}
