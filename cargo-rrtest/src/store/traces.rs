//! The store of kept traces: a directory with one file for each failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;

use crate::base::exit::CliError;
use crate::build::cargo::Project;
use crate::build::selection::Selection;

/// What trace files are called.
pub(super) const EXTENSION: &str = "rrtrace";

/// File names are kept well below what file systems take (255 bytes).
const MAX_STEM: usize = 180;

/// Which attempts' traces to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Traces of failures, one for each distinct failure
    OnFailure,
    /// All traces
    Always,
}

/// A directory of traces.
#[derive(Debug)]
pub(crate) struct Store {
    /// Absolute.
    pub(crate) dir: PathBuf,
    /// Whether it is the one that commands here look into if no options tell them to look elsewhere.
    pub(crate) usual: bool,
}

/// A trace in the store.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where.
    pub(crate) path: PathBuf,
    /// Its name without extension: what users type.
    pub(crate) name: String,
    /// When it was written.
    pub(crate) modified: SystemTime,
    /// Bytes.
    pub(crate) size: u64,
}

impl Store {
    /// The store in this directory.
    pub(crate) fn at(dir: &Path) -> Result<Self, CliError> {
        let dir = std::path::absolute(dir)
            .map_err(|error| CliError::os("cannot determine the working directory", &error))?;
        Ok(Self { dir, usual: false })
    }

    /// The store of a project, which is the one that `selection` names.
    pub(crate) fn of(project: &Project, selection: &Selection) -> Self {
        let usual = selection.manifest_path.is_none() && selection.target_dir.is_none();
        Self { dir: in_target_dir(&project.target_dir), usual }
    }

    /// The store that is meant by these options: the directory given, the project's, or, outside of any project, the
    /// one that a project here would have.
    pub(crate) fn find(dir: Option<&Path>, selection: &Selection) -> Result<Self, CliError> {
        match (dir, Project::find(selection)) {
            (Some(dir), _) => Self::at(dir),
            (None, Ok(project)) => Ok(Self::of(&project, selection)),
            (None, Err(_)) if selection.manifest_path.is_none() => {
                let store =
                    Self::at(&in_target_dir(selection.target_dir.as_deref().unwrap_or(Path::new("target"))))?;
                Ok(Self { usual: selection.target_dir.is_none(), ..store })
            }
            (None, Err(stop)) => Err(stop),
        }
    }

    /// A path for a new trace that no file has. `seed` is the part of it that goes into file names.
    pub(crate) fn new_path(
        &self,
        package_or_binary: &str,
        test: &str,
        seed: &str,
    ) -> Result<PathBuf, CliError> {
        fs::create_dir_all(&self.dir).map_err(|error| {
            CliError::os(format!("cannot create the directory {}", self.dir.display()), &error)
        })?;
        let stem = stem(package_or_binary, test, seed);
        let names = std::iter::once(stem.clone()).chain((2u64..).map(|number| format!("{stem}-{number}")));
        let mut paths = names.map(|name| self.dir.join(format!("{name}.{EXTENSION}")));
        // The iterator does not end before a free name is found.
        Ok(paths.find(|path| !path.exists()).unwrap_or_else(|| self.dir.join(stem)))
    }

    /// All traces, the newest first. A store that does not exist is empty.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, CliError> {
        let unreadable = |error| CliError::os(format!("cannot read {}", self.dir.display()), &error);
        let files = match fs::read_dir(&self.dir) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file.map_err(unreadable)?.path();
            // A file that has gone since is no entry.
            let (true, Ok(metadata)) =
                (path.extension().is_some_and(|ext| ext == EXTENSION), path.metadata())
            else {
                continue;
            };
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push(Entry { path, name, modified, size: metadata.len() });
        }
        entries.sort_by(|a, b| (b.modified, &a.name).cmp(&(a.modified, &b.name)));
        Ok(entries)
    }

    /// The trace that a user means: a path, a unique part of a name, or nothing for the newest.
    pub(crate) fn resolve(&self, trace: Option<&str>) -> Result<PathBuf, CliError> {
        if let Some(path) = trace.map(Path::new).filter(|path| path.is_file()) {
            return Ok(path.to_owned());
        }
        choose(self.entries()?, trace, &self.dir)
    }
}

fn in_target_dir(target_dir: &Path) -> PathBuf {
    target_dir.join("rrtest").join("traces")
}

fn stem(package_or_binary: &str, test: &str, seed: &str) -> String {
    let readable = format!("{package_or_binary}-{test}");
    let mut stem = String::new();
    for c in readable.chars() {
        let c = if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '-' };
        // `a::b` reads better as `a-b` than as `a--b`; and no name may look like an option or a hidden file.
        let unwanted = if stem.is_empty() { "-.".contains(c) } else { c == '-' && stem.ends_with('-') };
        if !unwanted && stem.len() < MAX_STEM {
            stem.push(c);
        }
    }
    format!("{stem}-{seed}")
}

fn choose(entries: Vec<Entry>, trace: Option<&str>, dir: &Path) -> Result<PathBuf, CliError> {
    let usage = |message: String| Err(CliError::usage(message));
    let Some(wanted) = trace else {
        return match entries.into_iter().next() {
            Some(entry) => Ok(entry.path),
            None => usage(format!(
                "there is no trace in {}\n  `cargo rrtest --until-fail` keeps one when a test fails; --trace-dir names \
                 another directory",
                dir.display()
            )),
        };
    };
    let part = wanted.strip_suffix(&format!(".{EXTENSION}")).unwrap_or(wanted);
    if let Some(entry) = entries.iter().find(|entry| entry.name == part) {
        return Ok(entry.path.clone());
    }
    let matching: Vec<_> = entries.iter().filter(|entry| entry.name.contains(part)).collect();
    match matching[..] {
        [entry] => Ok(entry.path.clone()),
        [] if Path::new(wanted).is_dir() => usage(format!(
            "`{wanted}` is a directory, not a trace\n  --trace-dir {wanted} looks for traces in it"
        )),
        [] => usage(format!(
            "there is no file `{wanted}`, and no trace in {} has that in its name\n  `cargo rrtest ls` lists them",
            dir.display()
        )),
        _ => {
            let names: Vec<_> = matching.iter().map(|entry| format!("\n  {}", entry.name)).collect();
            usage(format!("`{part}` matches several traces:{}", names.concat()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| Entry {
            path: PathBuf::from(format!("/t/{name}.{EXTENSION}")),
            name: (*name).to_owned(),
            modified: SystemTime::UNIX_EPOCH,
            size: 1,
        };
        names.iter().map(entry).collect()
    }

    fn chosen(names: &[&str], trace: Option<&str>) -> Result<String, String> {
        let path = choose(entries(names), trace, Path::new("/t"));
        path.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .map_err(|stop| stop.message.expect("a message"))
    }

    #[test]
    fn a_unique_part_of_a_name_will_do() {
        assert_eq!(chosen(&["p-one-1", "p-two-2"], Some("two")), Ok("p-two-2".into()));
        assert_eq!(chosen(&["p-one-1", "p-two-2"], None), Ok("p-one-1".into()));
        assert_eq!(chosen(&["p-one-1", "p-one-1-2"], Some("p-one-1")), Ok("p-one-1".into()));
        assert_eq!(chosen(&["p-one-1", "p-one-1-2"], Some("p-one-1.rrtrace")), Ok("p-one-1".into()));
    }

    #[test]
    fn otherwise_the_error_helps() {
        assert!(chosen(&["p-one-1", "p-two-2"], Some("p-")).expect_err("two match").contains("p-two-2"));
        assert!(chosen(&["p-one-1"], Some("three")).expect_err("none matches").contains("cargo rrtest ls"));
        assert!(chosen(&[], None).expect_err("none").contains("--until-fail"));
    }

    #[test]
    fn names_are_file_names() {
        assert_eq!(stem("p::it", "tests::a b/c", "00000abc"), "p-it-tests-a-b-c-00000abc");
        assert_eq!(stem("../p", "t", "00000001"), "p-t-00000001");
        assert!(stem("p", &"long".repeat(100), "00000001").len() < 200);
        assert_eq!(stem("p", "grün", "00000001"), "p-gr-n-00000001");
    }

    #[test]
    fn new_paths_are_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::at(dir.path()).expect("a store");
        let first = store.new_path("p", "t", "00000001").expect("a path");
        fs::write(&first, "").expect("a file");
        let second = store.new_path("p", "t", "00000001").expect("a path");
        assert_ne!(first, second);
        fs::write(&second, "").expect("a file");
        fs::write(dir.path().join("other.txt"), "").expect("a file");
        assert_eq!(store.entries().expect("entries").len(), 2);
    }
}
