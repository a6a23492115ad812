//! The pins of the tests that are to run.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cargo_metadata::Package;
use rrtest_engine::record::Time;

use super::file::{DIRECTORY, Pin, unreadable};
use crate::base::exit::CliError;
use crate::base::words::relative;
use crate::build::instrument::Level;
use crate::discover::find::{Discovered, binary_id};

/// A pin, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// Its file, as people would name it from here.
    pub(crate) file: Arc<str>,
    /// What is in it.
    pub(crate) pin: Pin,
}

/// The pins of a run.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// Those to be tried.
    pub(crate) pins: Vec<Pinned>,
    /// What the user should know of the others.
    pub(crate) warnings: Vec<String>,
}

/// How a run makes its attempts, as far as it matters to pins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner<'a> {
    /// The preemption levels of its builds.
    pub(crate) levels: &'a [Level],
    /// How time passes.
    pub(crate) time: Time,
    /// Whether the tests of a binary share a process.
    pub(crate) together: bool,
}

/// Reads the pins of the packages of the tests that were found.
///
/// # Errors
/// A file that is no pin, which is for the user to mend.
pub(crate) fn pins(packages: &[Package], found: &Discovered, manner: Manner<'_>) -> Result<Pins, CliError> {
    let names: BTreeSet<&str> = found.tests.iter().map(|test| test.package.as_str()).collect();
    let mut all = Pins::default();
    for package in packages.iter().filter(|package| names.contains(package.name.as_str())) {
        let Some(dir) = package.manifest_path.as_std_path().parent() else { continue };
        for path in files(&dir.join(DIRECTORY))? {
            let text =
                std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error.to_string()))?;
            let pin = Pin::parse(&text).map_err(|why| unreadable(&path, &why))?;
            let file = relative(&path).display().to_string().into();
            all.add(Pinned { file, pin }, package, found, manner);
        }
    }
    Ok(all)
}

/// Returns the files in a directory of pins, by name.
fn files(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let cannot = |error| CliError::os(format!("cannot read {}", relative(dir).display()), &error);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        // Others may lie there: a README, what an editor leaves.
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

impl Pins {
    fn add(&mut self, pinned: Pinned, package: &Package, found: &Discovered, manner: Manner<'_>) {
        let Pinned { file, pin } = &pinned;
        let is_gone = match found.listed.get(&pin.binary) {
            Some(names) => !names.contains(&pin.test),
            // It is not of this run, or of none any more.
            None => !package
                .targets
                .iter()
                .any(|target| binary_id(&package.name, &target.name, target.kind.first()) == pin.binary),
        };
        if is_gone {
            self.warnings.push(format!(
                "{file}: there is no test `{}` in {} any more\n  where it has another name now, write that into the file; \
                 else delete the file",
                pin.test, pin.binary
            ));
            return;
        }
        let is_to_run = |name: &str| {
            found.tests.iter().any(|test| {
                test.binary == pin.binary && test.name.as_deref().map_or(manner.together, |it| it == name)
            })
        };
        if !is_to_run(&pin.test) {
            return;
        }
        let mut needs = Vec::new();
        needs.extend(
            (!manner.levels.contains(&pin.preempt)).then(|| format!("--preempt {}", pin.preempt.name())),
        );
        needs.extend((manner.time != pin.time).then(|| format!("--time {}", pin.time.as_str())));
        if manner.together {
            self.warnings.push(format!("{file} is not tried: it is of a single test, without --together"));
        } else if !needs.is_empty() {
            self.warnings.push(format!("{file} is not tried: that takes {}", needs.join(" ")));
        } else {
            self.pins.push(pinned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::test::{Test, sample};
    use crate::pins::file;

    /// A package `p` with an integration test `it`.
    fn package() -> Package {
        serde_json::from_value(serde_json::json!({
            "name": "p", "version": "1.0.0", "id": "p", "dependencies": [], "features": {}, "manifest_path": "/p/Cargo.toml",
            "targets": [{
                "name": "it", "kind": ["test"], "crate_types": ["bin"], "src_path": "/p/tests/it.rs", "test": true,
                "doctest": false, "doc": false, "edition": "2024"
            }]
        }))
        .expect("a package")
    }

    fn tried(pin: Pin, found: &Discovered, manner: Manner<'_>) -> (usize, Vec<String>) {
        let mut pins = Pins::default();
        pins.add(Pinned { file: "f.toml".into(), pin }, &package(), found, manner);
        (pins.pins.len(), pins.warnings)
    }

    fn found(names: &[&str]) -> Discovered {
        let listed = [("p::it".to_owned(), names.iter().map(|name| (*name).to_owned()).collect())].into();
        Discovered { tests: vec![sample()], listed, ..Discovered::default() }
    }

    #[test]
    fn pins_of_tests_that_are_to_run_are_tried_and_of_others_it_is_said_why_not() {
        let manner = Manner { levels: &[Level::Sync], time: Time::Real, together: false };
        let one = |pin: Pin, found: &Discovered, manner| {
            let (tried, warnings) = tried(pin, found, manner);
            (tried, warnings.concat())
        };
        assert_eq!(one(file::sample(), &found(&["t"]), manner), (1, String::new()));
        let filtered =
            Discovered { tests: vec![Test { name: Some("u".into()), ..sample() }], ..found(&["t", "u"]) };
        assert_eq!(one(file::sample(), &filtered, manner), (0, String::new()), "it was not asked for");
        let (_, gone) = one(file::sample(), &found(&["u"]), manner);
        assert!(gone.contains("no test `t` in p::it any more"), "{gone}");
        let elsewhere = Pin { binary: "p::bin/other".into(), ..file::sample() };
        assert!(one(elsewhere, &found(&["t"]), manner).1.contains("any more"));
        let not_built = Discovered { listed: Default::default(), ..found(&[]) };
        assert_eq!(one(file::sample(), &not_built, manner).1, "", "the binary was not asked for");
        let memory = Pin { preempt: Level::Memory, time: Time::Virtual, ..file::sample() };
        assert!(
            one(memory, &found(&["t"]), manner).1.ends_with("that takes --preempt memory --time virtual")
        );
        let together = Discovered { tests: vec![Test { name: None, ..sample() }], ..found(&["t"]) };
        let (_, warning) = one(file::sample(), &together, Manner { together: true, ..manner });
        assert!(warning.contains("without --together"), "{warning}");
    }

    #[test]
    fn only_toml_files_are_pins_and_no_directory_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(files(&dir.path().join("none")).expect("no files").is_empty());
        for name in ["b.toml", "a.toml", "README.md", "a.toml~"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        let names: Vec<_> = files(dir.path()).expect("files");
        assert_eq!(names, ["a.toml", "b.toml"].map(|name| dir.path().join(name)));
    }
}
