//! Where traces come from that are in no store: a folder, a zip file, standard input, a run of GitHub Actions.
//!
//! What has to be unpacked or fetched lies in a temporary directory while a command works with it. Traces of one run may need each
//! other's contents, so all of them are there, beside each other as they were.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::archive;
use super::artifact;
use super::traces::EXTENSION;
use crate::base::exit::{CliError, Status};
use crate::base::words::{relative, size, visible};

/// How deep traces may lie in a folder.
const DEPTH: usize = 4;

/// What is read of standard input at most.
const MOST_BYTES: u64 = 8 << 30;

/// A trace file that a command works with.
#[derive(Debug)]
pub(crate) struct Given {
    path: PathBuf,
    /// What the user would call it.
    pub(crate) label: String,
    /// Keeps it there.
    unpacked: Option<TempDir>,
}

impl Given {
    /// A file that is where it is.
    pub(crate) fn file(path: PathBuf) -> Self {
        Self { label: relative(&path).display().to_string(), path, unpacked: None }
    }

    /// Where it is, for as long as this lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it stays where it is when the command is done.
    pub(crate) fn stays(&self) -> bool {
        self.unpacked.is_none()
    }

    /// What the user would call it from anywhere: the whole path of a file that stays.
    pub(crate) fn full_label(&self) -> String {
        match self.unpacked {
            Some(_) => self.label.clone(),
            None => self.path.display().to_string(),
        }
    }
}

/// The trace that `source` has, or that one of several whose name has `part` in it; none if `source` is no such place.
pub(crate) fn find(source: &str, part: Option<&str>) -> Result<Option<Given>, CliError> {
    let path = Path::new(source);
    if path.is_dir() {
        let all = traces_in(path)?;
        // The name of a folder may also be a part of that of a kept trace.
        return if all.is_empty() && part.is_none() {
            Ok(None)
        } else {
            choose(all, path, source, part, None).map(Some)
        };
    }
    let (label, dir) = if source == "-" {
        ("standard input".to_owned(), from_stdin()?)
    } else if source.starts_with(artifact::PREFIX) {
        let wanted = artifact::Wanted::parse(source)?;
        let dir = temporary()?;
        wanted.fetch(part, dir.path())?;
        (source.to_owned(), dir)
    } else if let Some(file) = zip_file(path)? {
        let dir = temporary()?;
        archive::unpack(file, source, dir.path())?;
        (source.to_owned(), dir)
    } else {
        return Ok(None);
    };
    let path = dir.path().to_owned();
    choose(traces_in(&path)?, &path, &label, part, Some(dir)).map(Some)
}

fn temporary() -> Result<TempDir, CliError> {
    tempfile::Builder::new()
        .prefix("rrtest-")
        .tempdir()
        .map_err(|error| CliError::os("cannot create a temporary directory", &error))
}

/// The file, if it is there and a zip file.
fn zip_file(path: &Path) -> Result<Option<File>, CliError> {
    if !path.is_file() {
        return Ok(None);
    }
    let unreadable = |error| CliError::os(format!("cannot read {}", path.display()), &error);
    let mut file = File::open(path).map_err(unreadable)?;
    Ok(archive::is_zip(&mut file).map_err(unreadable)?.then_some(file))
}

/// What comes on standard input: a zip file, or a trace.
fn from_stdin() -> Result<TempDir, CliError> {
    let dir = temporary()?;
    let path = dir.path().join(format!("stdin.{EXTENSION}"));
    let unwritten = |error| CliError::os("cannot keep what comes on standard input", &error);
    let mut file = File::create_new(&path).map_err(unwritten)?;
    let length = io::copy(&mut io::stdin().lock().take(MOST_BYTES + 1), &mut file).map_err(unwritten)?;
    if length == 0 || length > MOST_BYTES {
        let what = if length == 0 {
            "has nothing".to_owned()
        } else {
            format!("has more than {}", size(MOST_BYTES))
        };
        return Err(CliError::new(
            Status::Recorder,
            format!("standard input {what}: a trace or a zip file is expected"),
        ));
    }
    drop(file);
    let Some(file) = zip_file(&path)? else { return Ok(dir) };
    let unpacked = temporary()?;
    archive::unpack(file, "standard input", unpacked.path())?;
    Ok(unpacked)
}

/// The one trace in a directory, or the one of several that is meant.
fn choose(
    all: Vec<PathBuf>,
    dir: &Path,
    label: &str,
    part: Option<&str>,
    unpacked: Option<TempDir>,
) -> Result<Given, CliError> {
    let name = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let matching: Vec<_> = match part.map(|part| part.strip_suffix(&format!(".{EXTENSION}")).unwrap_or(part))
    {
        None => all.iter().collect(),
        Some(part) => {
            let exact: Vec<_> = all.iter().filter(|path| name(path) == part).collect();
            let with = || all.iter().filter(|path| name(path).contains(part)).collect();
            if exact.is_empty() { with() } else { exact }
        }
    };
    let list = |paths: &[&PathBuf]| -> String {
        let within =
            |path: &PathBuf| path.strip_prefix(dir).unwrap_or(path).with_extension("").display().to_string();
        paths.iter().map(|path| format!("\n  {}", visible(&within(path)))).collect()
    };
    match &matching[..] {
        [path] => {
            let within = visible(&path.strip_prefix(dir).unwrap_or(path).display().to_string());
            Ok(Given { path: path.to_path_buf(), label: format!("{label}/{within}"), unpacked })
        }
        [] if all.is_empty() => Err(CliError::usage(format!("there is no trace (*.{EXTENSION}) in {label}"))),
        [] => Err(CliError::usage(format!(
            "no trace in {label} has `{}` in its name; there are:{}",
            part.unwrap_or_default(),
            list(&all.iter().collect::<Vec<_>>())
        ))),
        several => Err(CliError::usage(format!(
            "there are several traces in {label}: add a part of the name of one, such as its last digits{}",
            list(several)
        ))),
    }
}

/// All traces in a directory, and in those in it, by their names.
fn traces_in(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut all = Vec::new();
    collect(dir, DEPTH, &mut all)?;
    all.sort();
    Ok(all)
}

/// Adds the traces in a directory, and in those in it.
fn collect(dir: &Path, depth: usize, all: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let unreadable = |error| CliError::os(format!("cannot read {}", dir.display()), &error);
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        // A link may lead back.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth > 1 {
                collect(&path, depth - 1, all)?;
            }
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) && path.is_file() {
            all.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], part: Option<&str>) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, "").expect("a file");
        }
        let given = choose(traces_in(dir.path()).expect("a folder"), dir.path(), "a.zip", part, None);
        given.map(|given| given.label).map_err(|stop| stop.message.expect("a message"))
    }

    #[test]
    fn one_trace_is_the_one() {
        assert_eq!(chosen(&["a-1.rrtrace", "junit.xml"], None), Ok("a.zip/a-1.rrtrace".into()));
        assert_eq!(chosen(&["leg/deep/a-1.rrtrace"], None), Ok("a.zip/leg/deep/a-1.rrtrace".into()));
    }

    #[test]
    fn of_several_a_part_of_the_name_chooses() {
        let names = ["a-1.rrtrace", "b-2.rrtrace", "b-2-2.rrtrace"];
        assert_eq!(chosen(&names, Some("a-")), Ok("a.zip/a-1.rrtrace".into()));
        assert_eq!(chosen(&names, Some("b-2")), Ok("a.zip/b-2.rrtrace".into()));
        assert_eq!(chosen(&names, Some("b-2-2.rrtrace")), Ok("a.zip/b-2-2.rrtrace".into()));
        let why = chosen(&names, None).expect_err("several");
        assert!(why.contains("\n  a-1\n  b-2\n  b-2-2") || why.contains("\n  a-1\n  b-2-2\n  b-2"), "{why}");
        assert!(chosen(&names, Some("c")).expect_err("none").contains("has `c` in its name"));
        assert!(chosen(&["x.txt"], None).expect_err("none").contains("no trace"));
    }
}
