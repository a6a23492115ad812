//! The programs: every race of the fixtures, and every program of SCTBench.

use std::fmt;

use rrtest_tests::report::Report;
use rrtest_tests::tool::Run;
use rrtest_tests::{Harness, fixtures};
use serde::Deserialize;

/// Fixtures that are no races.
const SOUND: &[&str] = &["cpu", "messages", "scaling", "steady", "timestamps", "trivial", "writes"];

/// Fixtures whose bug shows at `--preempt memory` only.
const MEMORY: &[&str] = &["unsafe-race"];

/// A test that can fail.
pub(crate) struct Program {
    /// Its package.
    pub(crate) package: String,
    /// Its test.
    pub(crate) test: String,
    /// Where threads must be preempted.
    pub(crate) level: &'static str,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A fixture has one test, SCTBench one package.
        f.write_str(if self.package == "sctbench" { &self.test } else { &self.package })
    }
}

/// Those that are `chosen`, fixtures first. They are built.
pub(crate) fn all(world: &Harness, chosen: impl Fn(&Program) -> bool) -> Vec<Program> {
    /// Of `fixtures/Cargo.toml`.
    #[derive(Deserialize)]
    struct Manifest {
        workspace: Workspace,
    }
    #[derive(Deserialize)]
    struct Workspace {
        members: Vec<String>,
    }
    let manifest = std::fs::read_to_string(fixtures().join("Cargo.toml")).expect("the fixtures' manifest");
    let manifest: Manifest = toml::from_str(&manifest).expect("a workspace");
    let mut members = manifest.workspace.members;
    members.sort_by_key(|name| name == "sctbench");
    let races = members.iter().filter(|name| !SOUND.contains(&name.as_str()));
    races.flat_map(|package| of_package(world, package)).filter(chosen).collect()
}

fn of_package(world: &Harness, package: &str) -> Vec<Program> {
    let traces = world.dir();
    let level = if MEMORY.contains(&package) { "memory" } else { "sync" };
    let mut command = world.fixture(package, traces.path());
    let run = Run::of(command.args(["--no-chaos", "--preempt", level]));
    assert!([Some(0), Some(101)].contains(&run.status.code()), "{run}");
    let report = Report::of(&run);
    let mut tests: Vec<&str> = report.attempts.iter().map(|attempt| attempt.text("test")).collect();
    tests.sort_unstable();
    tests.dedup();
    let program = |test: &str| Program { package: package.to_owned(), test: test.to_owned(), level };
    tests.into_iter().map(program).collect()
}
