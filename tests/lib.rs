//! Support for the end-to-end tests: the real `cargo-rrtest`, projects to run it on, and what it reports.
//!
//! | module | what |
//! |---|---|
//! | [`tool`] | builds `cargo-rrtest`, runs it, keeps what it printed |
//! | [`report`] | the JSON lines of a run |
//! | [`project`] | cargo projects written for one test |
//! | [`session`] | the processes that a run started, and those it left behind |
//! | [`stored`] | all bytes that a trace stores |
//! | [`browser`] | a browser that looks at pages |
//! | [`terminal`] | a terminal for a command |
//! | [`faithful`] | any program by itself, recorded and replayed |
//! | [`programs`] | the programs of `programs.toml` |
//! | [`stress_ng`] | the stressors of stress-ng, in `stress_ng.toml` |
//! | [`facts`] | where and of what a benchmark's result was measured |
//! | [`latch`] | tells when a recorded program has come to some point |
//! | [`races`] | the races of the fixtures, and how each is found |
//! | [`machines`] | other processors, kernels and distributions, for traces to replay on |

pub mod browser;
pub mod facts;
pub mod faithful;
pub mod latch;
pub mod machines;
pub mod programs;
pub mod project;
pub mod races;
pub mod report;
pub mod session;
pub mod stored;
pub mod stress_ng;
pub mod terminal;
pub mod tool;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use tool::Tool;

/// What all tests share.
#[derive(Debug)]
pub struct Harness {
    /// The program under test.
    pub tool: Tool,
    /// A directory for what tests write, inside the target directory.
    scratch: PathBuf,
    /// What could not be tested here, each with the reason.
    skipped: Mutex<Vec<String>>,
}

impl Harness {
    /// Build the program under test. `scratch` is an existing directory.
    ///
    /// # Panics
    /// If it does not build.
    #[must_use]
    pub fn new(scratch: &Path) -> Self {
        Self::with(Tool::build(), scratch)
    }

    /// The same with a program that is there.
    #[must_use]
    pub fn with(tool: Tool, scratch: &Path) -> Self {
        Self { tool, scratch: scratch.to_owned(), skipped: Mutex::default() }
    }

    /// Notes that something cannot be tested on this machine, and why.
    ///
    /// # Panics
    /// If the environment variable `CI` is `true`: there, nothing may go untested.
    pub fn skip(&self, what: &str, why: &str) {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "{what} cannot be tested here, which CI=true forbids: {}", why.trim_end());
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.push(format!("{what}: {}", why.trim_end()));
    }

    /// What was not tested, each with the reason, in the order of the alphabet.
    #[must_use]
    pub fn skipped(&self) -> Vec<String> {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner).clone();
        skipped.sort();
        skipped
    }

    /// A new directory, deleted when dropped. Its path has a space, as users' paths may.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn dir(&self) -> TempDir {
        tempfile::Builder::new().prefix("a test ").tempdir_in(&self.scratch).expect("a directory")
    }

    /// `cargo rrtest` on a package of the fixtures, with JSON and with traces kept in `traces`. What it builds is
    /// shared by all tests.
    #[must_use]
    pub fn fixture(&self, package: &str, traces: &Path) -> Command {
        let mut command = self.tool.cargo(&fixtures());
        command.args(["-p", package, "--message-format", "json", "--trace-dir"]).arg(traces);
        command.arg("--target-dir").arg(self.scratch.join("fixtures"));
        command
    }
}

/// The workspace of fixtures.
#[must_use]
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fixtures")
}

/// The trace files in a directory; none if there is no directory.
#[must_use]
pub fn traces(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = files.map(|file| file.path()).collect();
    files.sort();
    files
}
