//! Recordings of C programs, for tests that look at their replays.

#[path = "../common/mod.rs"]
pub(crate) mod common;

use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::program;
use rrtest_engine::output::Output;
use rrtest_engine::record::{self, Recording};
use rrtest_engine::schedule::StrategyName;
use rrtest_preload::layout::{AREA, SLOTS, SYS_HELLO, Shared, Slot, TICK};

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
    let program = program(path, args, directory);
    record::record(&program, &common::options(strategy, seed)).expect("a recording")
}

pub(crate) fn text(output: &Output) -> String {
    output.beginning().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}
