//! Running a fixture's test: natively, recorded, replayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rrtest_tests::report::Report;
use rrtest_tests::tool::{Run, cargo, clean};
use rrtest_tests::{Harness, fixtures};

use crate::table::{median, seconds};

/// What all benchmarks share.
pub(crate) struct Bench {
    /// The tool, and where fixtures are built.
    pub(crate) world: Harness,
    /// How often to measure.
    pub(crate) rounds: u32,
    /// Whether to leave out what takes long.
    pub(crate) quick: bool,
}

impl Bench {
    /// `cargo rrtest` on a fixture, to be given further options.
    pub(crate) fn rrtest(&self, package: &str) -> Command {
        let mut command = self.world.fixture(package, Path::new(env!("CARGO_TARGET_TMPDIR")));
        command.args(["--timeout", "10m"]);
        command
    }

    /// Record, and give the seconds that the campaign took for each attempt, from its start to its end.
    pub(crate) fn record(&self, package: &str, options: &[&str]) -> f64 {
        self.record_command(package, options).0
    }

    /// The same, and the seconds that the whole command took.
    pub(crate) fn record_command(&self, package: &str, options: &[&str]) -> (f64, f64) {
        let start = Instant::now();
        let run = Run::of(self.rrtest(package).args(options)).expect(0);
        let command = start.elapsed().as_secs_f64();
        let report = Report::of(&run);
        let wall = report.summary["wall_ms"].as_f64().expect("a number");
        (wall / 1e3 / report.attempts.len() as f64, command)
    }

    /// Record a test and keep the trace, in this directory.
    pub(crate) fn trace(&self, package: &str, options: &[&str], dir: &Path) -> PathBuf {
        let mut command = self.world.fixture(package, dir);
        command.args(["--timeout", "10m", "--keep", "always"]).args(options);
        Report::of(&Run::of(&mut command).expect(0)).traces().pop().expect("a trace")
    }

    /// Replay a trace, and give the seconds that the whole command took.
    pub(crate) fn replay(&self, trace: &Path) -> f64 {
        let mut command = self.world.tool.cargo(&fixtures());
        let start = Instant::now();
        let _faithful = Run::of(command.arg("replay").arg(trace)).expect(0);
        start.elapsed().as_secs_f64()
    }

    /// Where fixtures are built as they are, without the clock.
    pub(crate) fn native_dir(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("native")
    }

    /// The test binary `it` of a fixture, as `cargo test` runs it.
    pub(crate) fn native(&self, package: &str) -> Native {
        let noted = tempfile::NamedTempFile::new().expect("a temporary file");
        // Cargo "runs" the binary by way of a shell that notes what it was given.
        let note = format!(r#"{{ printf "%s\0" "$0" "$PWD"; env -0; }} > {}"#, noted.path().display());
        let runner = ["sh", "-c", &note].map(|word| toml::Value::from(word).to_string()).join(",");
        let mut command = Command::new(cargo());
        clean(&mut command);
        command
            .args(["test", "--quiet", "-p", package, "--test", "it", "--target-dir"])
            .arg(self.native_dir())
            .args(["--config", &format!("target.'cfg(all())'.runner=[{runner}]")])
            .current_dir(fixtures());
        let _built = Run::of(&mut command).expect(0);
        let noted = fs::read_to_string(noted.path()).expect("what the shell noted");
        let mut words = noted.split_terminator('\0').map(str::to_owned);
        let (path, cwd) = (words.next().expect("a path"), words.next().expect("a directory"));
        let env = words.filter_map(|word| Some(word.split_once('=')?).map(|(n, v)| (n.into(), v.into())));
        Native { path: path.into(), cwd: cwd.into(), env: env.collect() }
    }
}

/// A test binary without the clock.
pub(crate) struct Native {
    path: PathBuf,
    cwd: PathBuf,
    env: Vec<(String, String)>,
}

impl Native {
    /// Run one test in a process of its own, and give the seconds it took, from its start to its end.
    pub(crate) fn run(&self, test: &str) -> f64 {
        let mut command = Command::new(&self.path);
        command
            .args(["--exact", test, "--nocapture"])
            .current_dir(&self.cwd)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().expect("the test binary runs");
        let wall = start.elapsed().as_secs_f64();
        assert!(status.success(), "{test} natively: {status}");
        wall
    }

    /// The same on one core, as by `taskset -c`.
    pub(crate) fn run_on_one_core(&self, test: &str) -> f64 {
        let ourselves = Pid::from_raw(0);
        let all = sched_getaffinity(ourselves).expect("a set of cores");
        let first = (0..CpuSet::count()).find(|core| all.is_set(*core).unwrap_or(false)).expect("a core");
        let mut one = CpuSet::new();
        one.set(first).expect("a core that there is");
        // Children inherit it (sched_setaffinity(2)).
        sched_setaffinity(ourselves, &one).expect("a core of ours");
        let wall = self.run(test);
        sched_setaffinity(ourselves, &all).expect("the cores that we had");
        wall
    }
}

/// What a ratio was made of.
pub(crate) fn parts((ours, our_name): (&[f64], &str), (theirs, their_name): (&[f64], &str)) -> String {
    let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    format!(
        "{our_name} {}, {their_name} {}; fastest to fastest {:.2}×",
        seconds(median(ours)),
        seconds(median(theirs)),
        least(ours) / least(theirs)
    )
}

/// Each of `ours` divided by that of `theirs` in the same round.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}
