//! The tests: of which binary, under which name, how to run each, or all of a binary together.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use cargo_metadata::{Artifact, TargetKind};
use rrtest_engine::program::Program;
use toml::Table;

use crate::cargo::{Built, Project};
use crate::exit::{Status, Stop};
use crate::libtest::{Filter, has_one_thread, parse_list};
use crate::runner::Capture;

/// What one attempt runs: a test, or all tests of a binary together.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The binary it is in, named as nextest does: `p` the library of package `p`, `p::it` its integration test `it`,
    /// `p::bin/b` its binary `b`.
    pub(crate) binary: String,
    /// Its name in that binary; none for the binary's tests together.
    pub(crate) name: Option<String>,
    /// How to run it, and no other.
    pub(crate) program: Program,
    /// Whether a libtest harness runs it, whose main thread only waits.
    pub(crate) harness: bool,
}

impl Test {
    /// The name that is unique in a workspace: binary and test.
    pub(crate) fn id(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.binary),
            None => self.binary.clone(),
        }
    }

    /// The name for people, in a place that names the binary.
    pub(crate) fn title(&self) -> &str {
        self.name.as_deref().unwrap_or("together")
    }

    /// Whether it is all tests of a binary.
    pub(crate) fn is_together(&self) -> bool {
        self.name.is_none()
    }
}

/// How tests are put into processes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grouping<'a> {
    /// Each has one of its own.
    Alone,
    /// Those of a binary share one, which gets these arguments, as from `cargo test`.
    Together(&'a [String]),
}

/// The tests in what cargo built, filtered, in cargo's order.
pub(crate) fn tests(
    project: &Project,
    built: &Built,
    filter: &Filter,
    grouping: Grouping<'_>,
) -> Result<Vec<Test>, Stop> {
    let packages: HashMap<_, _> =
        project.metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let mut tests = Vec::new();
    for capture in &built.captures {
        let Some(artifact) = built.artifacts.get(&capture.program.path) else {
            return Err(Stop::new(
                Status::Recorder,
                format!(
                    "cargo ran {}, which it did not name among what it built",
                    capture.program.path.display()
                ),
            ));
        };
        let package = packages.get(&artifact.package_id).map_or("?", |package| package.name.as_str());
        tests.extend(tests_of(package, artifact, capture, filter, grouping)?);
    }
    Ok(tests)
}

fn tests_of(
    package: &str,
    artifact: &Artifact,
    capture: &Capture,
    filter: &Filter,
    grouping: Grouping<'_>,
) -> Result<Vec<Test>, Stop> {
    let target = &artifact.target;
    let binary = binary_id(package, &target.name, target.kind.first());
    let test = |name: Option<&str>, args: Vec<OsString>, harness| Test {
        package: package.to_owned(),
        binary: binary.clone(),
        name: name.map(str::to_owned),
        program: Program { args, ..capture.program.clone() },
        harness,
    };
    let own_harness = has_own_harness(artifact);
    let names = if capture.all.success { parse_list(&capture.all.stdout) } else { None };
    match names {
        // Silence is the answer of a libtest without tests, but of a program of another kind too.
        Some(names) if !(own_harness && names.is_empty()) => {
            let ignored = parse_list(&capture.ignored.stdout).unwrap_or_default();
            let mut accepted = names
                .iter()
                .map(|name| (name, ignored.contains(name)))
                .filter(|(name, is_ignored)| filter.accepts(name, *is_ignored))
                .peekable();
            Ok(match grouping {
                Grouping::Alone => accepted
                    .map(|(name, is_ignored)| {
                        let args = ["--exact", name, "--nocapture"].into_iter();
                        let args = args.chain(is_ignored.then_some("--ignored"));
                        test(Some(name), args.map(OsString::from).collect(), true)
                    })
                    .collect(),
                Grouping::Together(args) if accepted.peek().is_some() => {
                    let waits = !has_one_thread(args, &capture.program.env);
                    vec![test(None, args.iter().map(OsString::from).collect(), waits)]
                }
                Grouping::Together(_) => Vec::new(),
            })
        }
        _ if own_harness => Ok(filter
            .accepts(&target.name, false)
            .then(|| test(Some(&target.name), Vec::new(), false))
            .into_iter()
            .collect()),
        _ => Err(Stop::new(
            Status::Recorder,
            format!(
                "{binary} does not list its tests: `{} --list --format terse` {}\n{}",
                capture.program.path.display(),
                if capture.all.success { "answers in another form than libtest's" } else { "fails" },
                capture.all.stderr.trim_end()
            ),
        )),
    }
}

/// The binary's name in reports.
fn binary_id(package: &str, target: &str, kind: Option<&TargetKind>) -> String {
    match kind {
        Some(TargetKind::Test) => format!("{package}::{target}"),
        Some(kind @ (TargetKind::Bin | TargetKind::Example | TargetKind::Bench)) => {
            format!("{package}::{kind}/{target}")
        }
        _ => package.to_owned(),
    }
}

/// Whether Cargo.toml says `harness = false` of a target; `cargo metadata` does not tell.
fn has_own_harness(artifact: &Artifact) -> bool {
    let manifest = std::fs::read_to_string(artifact.manifest_path.as_std_path()).unwrap_or_default();
    let manifest: Table = manifest.parse().unwrap_or_default();
    says_no_harness(
        &manifest,
        artifact.target.kind.first(),
        &artifact.target.name,
        artifact.target.src_path.as_std_path(),
    )
}

fn says_no_harness(manifest: &Table, kind: Option<&TargetKind>, name: &str, source: &Path) -> bool {
    let key = match kind {
        Some(TargetKind::Test) => "test",
        Some(TargetKind::Bin) => "bin",
        Some(TargetKind::Example) => "example",
        Some(TargetKind::Bench) => "bench",
        _ => "lib",
    };
    let no_harness = |entry: &Table| entry.get("harness").and_then(toml::Value::as_bool) == Some(false);
    match manifest.get(key) {
        Some(toml::Value::Table(lib)) => no_harness(lib),
        Some(toml::Value::Array(entries)) => entries.iter().filter_map(toml::Value::as_table).any(|entry| {
            let text = |key| entry.get(key).and_then(toml::Value::as_str);
            no_harness(entry)
                && (text("name") == Some(name) || text("path").is_some_and(|path| source.ends_with(path)))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_named_as_nextest_names_them() {
        assert_eq!(binary_id("p", "p", Some(&TargetKind::Lib)), "p");
        assert_eq!(binary_id("p", "p_macro", Some(&TargetKind::ProcMacro)), "p");
        assert_eq!(binary_id("p", "it", Some(&TargetKind::Test)), "p::it");
        assert_eq!(binary_id("p", "b", Some(&TargetKind::Bin)), "p::bin/b");
        assert_eq!(binary_id("p", "e", Some(&TargetKind::Example)), "p::example/e");
    }

    #[test]
    fn targets_without_harness() {
        let manifest: Table = "
            [lib]
            harness = false
            [[test]]
            name = 'own'
            harness = false
            [[test]]
            name = 'usual'
            [[bench]]
            name = 'usual'
            harness = false"
            .parse()
            .expect("a manifest");
        let says = |kind, name| says_no_harness(&manifest, Some(&kind), name, Path::new("/p/src/x.rs"));
        assert!(says(TargetKind::Lib, "p"));
        assert!(says(TargetKind::Test, "own"));
        assert!(!says(TargetKind::Test, "usual"));
        assert!(says(TargetKind::Bench, "usual"));
        assert!(!says(TargetKind::Bin, "p"));
    }
}
