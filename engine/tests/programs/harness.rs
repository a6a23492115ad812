//! How the programs are compiled, recorded and replayed.

use crate::common::{GO_ON, PATIENCE, core, program};
use rrtest_engine::Error;
use rrtest_engine::ending::Ending;
use rrtest_engine::output::Output;
use rrtest_engine::patience::Limit;
use rrtest_engine::record::{self, ForkServer, Recording};
use rrtest_engine::replay::{self, Replayed};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::surprise::{Surprise, Surprises};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const STRATEGIES: [StrategyName; 3] = [StrategyName::Fair, StrategyName::Walk, StrategyName::Pct];

/// The program of this name, compiled by the C compiler that rustc links with, too.
pub(crate) fn compile(name: &str, directory: &Path) -> PathBuf {
    compile_with(name, directory, &[])
}

pub(crate) fn compile_with(name: &str, directory: &Path, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let program = directory.join(name);
    let status = Command::new("cc")
        .args(flags)
        .args(["-O1", "-D_GNU_SOURCE", "-pthread", "-w", "-o"])
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
    record_for(PATIENCE, path, args, directory, strategy, seed)
}

pub(crate) fn record_for(
    timeout: Duration,
    path: &Path,
    args: &[&str],
    directory: &Path,
    strategy: StrategyName,
    seed: u64,
) -> Recording {
    let program = program(path, args, directory);
    record::record(&program, &options(timeout, strategy, seed)).expect("a recording")
}

pub(crate) fn options(timeout: Duration, strategy: StrategyName, seed: u64) -> record::Options<'static> {
    // A fair schedule usually has none.
    let surprised = strategy != StrategyName::Fair || seed % 4 > 1;
    // Programs expect to be told of two cores.
    let usual = Surprises::USUAL.without([Surprise::Cores].into_iter().collect());
    let surprises = if surprised { usual } else { Surprises::NONE };
    record::Options { surprises, limit: Limit::Real(timeout), ..crate::common::options(strategy, seed) }
}

/// The cores that we may use.
pub(crate) fn cores() -> Vec<usize> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("our cores");
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

pub(crate) fn replay_recording(recording: &Recording) -> Result<(Replayed, Output), Error> {
    replay_on(core(), recording)
}

pub(crate) fn replay_on(core: usize, recording: &Recording) -> Result<(Replayed, Output), Error> {
    let mut output = Output::default();
    let options = replay::Options {
        watch: &[],
        core,
        stop: &GO_ON,
        patience: Duration::from_secs(60),
        output: &mut |stream, bytes| output.push(stream, bytes),
    };
    let replayed = replay::replay(&recording.log, options)?;
    Ok((replayed, output))
}

/// Record and replay the program; each recording must end as said, each replay as its recording.
pub(crate) fn check(name: &str, args: &[&str], ending: &Ending) {
    check_seeds(0..4, name, args, ending);
}

pub(crate) fn check_seeds(seeds: std::ops::Range<u64>, name: &str, args: &[&str], ending: &Ending) {
    check_ending(seeds, name, args, &|end| end == ending);
}

/// The same for a program that a signal kills.
pub(crate) fn check_killed(name: &str, args: &[&str], number: i32) {
    check_ending(0..4, name, args, &|end| matches!(end, Ending::Killed { signal, .. } if *signal == number));
}

pub(crate) fn check_ending(
    seeds: std::ops::Range<u64>,
    name: &str,
    args: &[&str],
    is_right: &dyn Fn(&Ending) -> bool,
) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = compile(name, directory.path());
    let mut fork_server =
        ForkServer::start(&program(&path, args, directory.path()), &options(PATIENCE, StrategyName::Fair, 0))
            .expect("a start");
    for strategy in STRATEGIES {
        for seed in seeds.clone() {
            // Started anew and copied by turns.
            let recording = match &mut fork_server {
                Ok(fork_server) if seed % 2 == 1 => {
                    fork_server.record(&options(PATIENCE, strategy, seed)).expect("a recording")
                }
                _ => record(&path, args, directory.path(), strategy, seed),
            };
            let said = text(&recording);
            assert!(is_right(&recording.ending), "{strategy:?} {seed}: {:?} {said}", recording.ending);
            let (replayed, output) = replay_recording(&recording)
                .unwrap_or_else(|error| panic!("{strategy:?} {seed}: {error}\n{said}"));
            assert_eq!((&replayed.ending, replayed.stats), (&recording.ending, recording.stats));
            assert_eq!(output, recording.output);
        }
    }
}

pub(crate) fn text(recording: &Recording) -> String {
    recording.output.beginning().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
}
