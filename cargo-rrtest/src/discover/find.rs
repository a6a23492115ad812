//! The tests of binaries: under which name, and how to run each, or all of a binary together.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_metadata::{Artifact, Package, TargetKind};
use rrtest_engine::program::Program;
use toml::Table;

use super::choice::Choice;
use super::libtest::{threads, without_names};
use super::listing::Listing;
use super::runner::Capture;
use super::secrets;
use super::test::{Rules, Test, TestId};
use crate::base::exit::{CliError, Status};

/// How tests are put into processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grouping<'a> {
    /// Whether those of a binary share one, or each has one of its own.
    pub(crate) together: bool,
    /// The arguments that a process for several tests gets, as from `cargo test`.
    pub(crate) args: &'a [String],
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    /// The tests, in cargo's order.
    pub(crate) tests: Vec<Test>,
    /// Those marked `#[ignore]` that were not asked for, but for that.
    pub(crate) ignored: Vec<TestId>,
    /// What the user should know of how they were found.
    pub(crate) warnings: Vec<String>,
    /// How many more would be wanted but for the partition.
    pub(crate) elsewhere: usize,
    /// The names of all tests of each binary that lists them, whether they are to run or not.
    pub(crate) listed: HashMap<String, HashSet<String>>,
}

/// The tests in what cargo built of these packages, filtered. It has named the artifacts by their paths, and run them as captured.
pub(crate) fn tests(
    packages: &[Package],
    artifacts: &HashMap<PathBuf, Artifact>,
    captures: &[Capture],
    choice: &Choice,
    grouping: Grouping<'_>,
) -> Result<Discovered, CliError> {
    let packages: HashMap<_, _> = packages.iter().map(|package| (&package.id, package)).collect();
    let mut found = Discovered::default();
    for capture in captures {
        let Some(artifact) = artifacts.get(&capture.program.path) else {
            return Err(CliError::new(
                Status::Recorder,
                format!(
                    "cargo ran {}, but did not list it among the artifacts that it built",
                    capture.program.path.display()
                ),
            ));
        };
        let package = packages.get(&artifact.package_id).map_or("?", |package| package.name.as_str());
        found.add(package, artifact, capture, choice, grouping);
    }
    if let Some(partition) = choice.partition {
        let wanted = found.tests.len();
        found.tests = partition.of(std::mem::take(&mut found.tests));
        found.elsewhere = wanted - found.tests.len();
    }
    let secrets = captures.iter().flat_map(|capture| capture.secrets.iter().cloned()).collect();
    found.warnings.extend(secrets::warning(&secrets));
    Ok(found)
}

impl Discovered {
    /// Add the tests of a binary.
    fn add(
        &mut self,
        package: &str,
        artifact: &Artifact,
        capture: &Capture,
        choice: &Choice,
        grouping: Grouping<'_>,
    ) {
        let target = &artifact.target;
        let binary = binary_id(package, &target.name, target.kind.first());
        let source: Arc<Path> = target.src_path.as_std_path().into();
        let nobody: Arc<[String]> = Arc::default();
        let kind = target.kind.first().map_or("lib", kind_name);
        let test = |name: Option<&str>, args: Vec<OsString>, harness, mates: &Arc<[String]>| Test {
            package: package.to_owned(),
            binary: binary.clone(),
            name: name.map(str::to_owned),
            program: Program { args, ..capture.program.clone() },
            harness,
            mates: Arc::clone(mates),
            kind: kind.to_owned(),
            target: target.name.clone(),
            ignored: false,
            rules: Rules::default(),
            source: Arc::clone(&source),
        };
        let Choice { filter, .. } = choice;
        let together = |chosen: Option<&Arc<[String]>>| {
            let mut args: Vec<_> = grouping.args.iter().map(OsString::from).collect();
            // libtest does not know filter expressions: it is given the names of those that they accept.
            if let Some(chosen) = chosen {
                args = without_names(&args);
                args.push("--exact".into());
                args.extend(chosen.iter().map(OsString::from));
            }
            // Some harnesses run tests one after the other on their main thread: its waits are not a watchdog's then.
            let waits = threads(&args, &capture.program.env) != Some("1");
            (args, waits)
        };
        let own_harness = has_own_harness(artifact);
        let listed = match &capture.listing {
            Listing::Tests { tests, .. } if !(own_harness && tests.is_empty()) => {
                tests.iter().map(|(name, _)| name.clone()).collect()
            }
            _ => HashSet::from([target.name.clone()]),
        };
        self.listed.insert(binary.clone(), listed);
        match &capture.listing {
            // Silence is the answer of a libtest without tests, but of a program of another kind too.
            Listing::Tests { tests, noise } if !(own_harness && tests.is_empty()) => {
                self.warnings.extend(noise.as_ref().map(|line| noisy(&binary, line)));
                let whole = test(None, Vec::new(), true, &nobody);
                let accepted = || {
                    tests.iter().filter(|(name, ignored)| {
                        filter.accepts(name, *ignored) && choice.in_filtersets(&whole, name)
                    })
                };
                let ignored = tests.iter().filter(|(name, ignored)| {
                    *ignored && filter.leaves_out_as_ignored(name) && choice.in_filtersets(&whole, name)
                });
                self.ignored.extend(ignored.map(|(name, _)| TestId {
                    package: package.to_owned(),
                    binary: binary.clone(),
                    name: Some(name.clone()),
                }));
                if !grouping.together {
                    let mates =
                        tests.iter().filter(|(_, ignored)| !ignored).map(|(name, _)| name.clone()).collect();
                    self.tests.extend(accepted().map(|(name, ignored)| {
                        let args = ["--exact", name, "--nocapture"].into_iter();
                        let args = args.chain(ignored.then_some("--ignored"));
                        let args = args.map(OsString::from).collect();
                        Test { ignored: *ignored, ..test(Some(name), args, true, &mates) }
                    }));
                } else if accepted().next().is_some() {
                    let mates = accepted().map(|(name, _)| name.clone()).collect();
                    let (args, waits) = together((!choice.filtersets.is_empty()).then_some(&mates));
                    self.tests.push(test(None, args, waits, &mates));
                }
            }
            _ if own_harness => {
                let test = test(Some(&target.name), Vec::new(), false, &nobody);
                let accepted =
                    filter.accepts(&target.name, false) && choice.in_filtersets(&test, &target.name);
                self.tests.extend(accepted.then_some(test));
            }
            Listing::Tests { .. } => {}
            Listing::Unknown(why) => {
                self.warnings.push(unlisted(&binary, &capture.program.path, why));
                let (args, waits) = together(None);
                let name = Some(&*target.name).filter(|_| !grouping.together);
                let test = test(name, args, waits, &nobody);
                let accepted = choice.in_filtersets(&test, &target.name);
                self.tests.extend(accepted.then_some(test));
            }
        }
    }
}

fn noisy(binary: &str, line: &str) -> String {
    format!("{binary} prints among the names of its tests, which are taken as they are:\n  {line}")
}

fn unlisted(binary: &str, path: &Path, why: &str) -> String {
    format!(
        "{binary} does not list its tests, so they are run all together, as one: {} {}",
        path.display(),
        why.replace('\n', "\n  ")
    )
}

/// The name that nextest has for a kind of target.
fn kind_name(kind: &TargetKind) -> &'static str {
    match kind {
        TargetKind::Test => "test",
        TargetKind::Bin => "bin",
        TargetKind::Example => "example",
        TargetKind::Bench => "bench",
        TargetKind::ProcMacro => "proc-macro",
        _ => "lib",
    }
}

/// The binary's name in reports.
pub(crate) fn binary_id(package: &str, target: &str, kind: Option<&TargetKind>) -> String {
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
