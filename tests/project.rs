//! Cargo projects written for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Harness;
use crate::report::Report;
use crate::tool::{self, Run};

/// The manifest of a project with nothing special. It is its own workspace, wherever it lies.
pub const MANIFEST: &str = "[package]\nname = 'p'\nversion = '1.2.3'\nedition = '2024'\n[workspace]\n";

/// A project in a directory of its own, deleted when dropped.
#[derive(Debug)]
pub struct Project {
    dir: TempDir,
    /// Where its programs put temporary files. The file by which campaigns know of each other is one of these: another
    /// test's campaign, with a failure to repeat alone, would hold up the attempts of this one.
    temporary: TempDir,
}

impl Project {
    /// A project of these files, each with its path. There is [`MANIFEST`] if none is among them, and an empty library.
    ///
    /// # Panics
    /// If they cannot be written.
    #[must_use]
    pub fn new(world: &Harness, files: &[(&str, &str)]) -> Self {
        let project = Self { dir: world.dir(), temporary: world.dir() };
        project.write("Cargo.toml", MANIFEST);
        project.write("src/lib.rs", "");
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// A project of one integration test file, `it`.
    #[must_use]
    pub fn of_test(world: &Harness, source: &str) -> Self {
        Self::new(world, &[("tests/it.rs", source)])
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Write a file.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    /// `cargo rrtest` in it, with these arguments.
    #[must_use]
    pub fn rrtest(&self, world: &Harness, args: &[&str]) -> Command {
        let mut command = world.tool.cargo(self.path());
        command.args(args).env("TMPDIR", self.temporary.path());
        command
    }

    /// Run `cargo rrtest` with JSON; expect this exit code.
    ///
    /// # Panics
    /// If it is another, or the report is not as promised.
    #[must_use]
    pub fn report(&self, world: &Harness, args: &[&str], code: i32) -> Report {
        let run = Run::of(self.rrtest(world, &["--message-format", "json"]).args(args)).expect(code);
        Report::of(&run)
    }

    /// Build it with plain cargo; the path of its program `name`.
    ///
    /// # Panics
    /// If it does not build.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let mut cargo = Command::new(tool::cargo());
        tool::clean(&mut cargo);
        let _built = Run::of(cargo.args(["build", "--bins"]).current_dir(self.path())).expect(0);
        self.path().join("target/debug").join(name)
    }

    /// Where its traces are kept.
    #[must_use]
    pub fn traces(&self) -> Vec<PathBuf> {
        crate::traces(&self.path().join("target/rrtest/traces"))
    }
}
