//! The programs of `programs.toml`: each recorded and replayed.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::faithful::{Compare, Done, Sandbox, Verdict, is_installed};

/// A program and how to run it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What it is called here.
    pub name: String,
    needs: Vec<String>,
    package: String,
    #[serde(default)]
    setup: String,
    run: Vec<String>,
    #[serde(default)]
    varies: bool,
    #[serde(default)]
    user: bool,
    /// Whether it takes more than a few seconds.
    #[serde(default)]
    pub slow: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    program: Vec<Program>,
}

/// All of them.
///
/// # Panics
/// If the list is wrong.
#[must_use]
pub fn all() -> Vec<Program> {
    let list: List = toml::from_str(include_str!("programs.toml")).expect("programs.toml");
    list.program
}

impl Program {
    /// Why it cannot be run here.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let missing = self.needs.iter().find(|command| !is_installed(command))?;
        Some(format!("there is no `{missing}`, which is in the Debian package {}", self.package))
    }

    /// Run it by itself, then recorded with these options of `exec`, then replayed.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn try_out(&self, tool: &Path, way: &[String], limit: Duration) -> io::Result<(Done, Verdict)> {
        let sandbox = Sandbox::new(tool, self.user)?.with(way, limit);
        let native = sandbox.native(&self.setup, &self.run)?;
        let compare = if self.varies { Compare::Status } else { Compare::Output };
        let verdict = sandbox.try_out(&self.setup, &self.run, &native, compare)?;
        Ok((native, verdict))
    }

    /// Run it by itself.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn native(&self, tool: &Path, limit: Duration) -> io::Result<Done> {
        Sandbox::new(tool, self.user)?.with(&[], limit).native(&self.setup, &self.run)
    }
}
