//! What a trace carries for debuggers, as files: programs and libraries with their debug information, and sources.
//!
//! A trace means the same wherever it is read. So a file of this machine stands in for one that the trace does not
//! carry whole only if its contents are those that were recorded, and never for a source, of which there is no record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::ending::Frame;
use crate::error::Error;
use crate::symbols::{Mapping, Stack, Symbols};
use crate::trace::{Trace, TraceError};
use crate::tracee::{LONGEST_NAME, os};

/// A source is larger than this hardly ever, and is then not worth reading for a line.
const LARGEST_SOURCE: u64 = 16 << 20;

/// The files of a trace, in a directory of their own that goes with this. Each is written when it is first asked for.
#[derive(Debug)]
pub struct Carried<'a> {
    trace: &'a Trace,
    directory: TempDir,
    /// Where the files are that have been asked for; nothing if nowhere.
    found: RefCell<BTreeMap<PathBuf, Option<PathBuf>>>,
    /// The sources that have been read: a line is asked for again and again.
    sources: RefCell<BTreeMap<PathBuf, Rc<str>>>,
}

impl<'a> Carried<'a> {
    /// Those of this trace.
    ///
    /// # Errors
    /// If no temporary directory can be made.
    pub fn by(trace: &'a Trace) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("rrtest-files-").tempdir();
        let directory = directory.map_err(os("create a temporary directory"))?;
        Ok(Self { trace, directory, found: RefCell::default(), sources: RefCell::default() })
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> &'a Trace {
        self.trace
    }

    /// Finds the file that had this path when the trace was recorded: a copy of what the trace carries, or, of a program
    /// or library that it does not carry whole, the file of this machine if it is the recorded one.
    ///
    /// # Errors
    /// If the trace is damaged, or the copy cannot be written.
    pub fn file(&self, path: &Path) -> Result<Option<PathBuf>, Error> {
        if let Some(found) = self.found.borrow().get(path) {
            return Ok(found.clone());
        }
        let found = if self.trace.attached().any(|file| file.path == path) {
            Some(self.extract(path)?)
        } else {
            self.trace.is_recorded(path).then(|| path.to_owned())
        };
        self.found.borrow_mut().insert(path.to_owned(), found.clone());
        Ok(found)
    }

    /// Writes a file that is attached, at its path below the directory: what belongs to it lies beside it then.
    fn extract(&self, path: &Path) -> Result<PathBuf, Error> {
        let copy = self.place(path);
        let failed = |source| Error::Os { what: format!("write `{}`", copy.display()), source };
        if let Some(above) = copy.parent() {
            fs::create_dir_all(above).map_err(failed)?;
        }
        let to = File::create(&copy).map_err(failed)?;
        self.trace.extract(path, &to).map_err(|error| match error {
            TraceError::Write { source, .. } => failed(source),
            error => error.into(),
        })?;
        // gdb warns of a source that is newer than the program.
        if !self.trace.files().any(|file| file.path == path) {
            to.set_modified(SystemTime::UNIX_EPOCH).map_err(failed)?;
        }
        Ok(copy)
    }

    /// Reads a source, as text; none if the trace carries no such source.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn source(&self, path: &Path) -> Result<Option<Rc<str>>, Error> {
        if let Some(text) = self.sources.borrow().get(path) {
            return Ok(Some(text.clone()));
        }
        if !self.trace.attached().any(|file| file.path == path && file.bytes <= LARGEST_SOURCE) {
            return Ok(None);
        }
        let Some(file) = self.file(path)? else { return Ok(None) };
        let bytes = fs::read(&file)
            .map_err(|source| Error::Os { what: format!("read `{}`", file.display()), source })?;
        let text: Rc<str> = String::from_utf8_lossy(&bytes).into();
        self.sources.borrow_mut().insert(path.to_owned(), text.clone());
        Ok(Some(text))
    }

    /// Reads a line of a source; none if the trace carries no such source, or it has no such line.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn line(&self, (path, number): &(String, u32)) -> Result<Option<String>, Error> {
        let Some(text) = self.source(Path::new(path))? else { return Ok(None) };
        let line = number.checked_sub(1).and_then(|above| text.lines().nth(above as usize));
        Ok(line.map(str::to_owned))
    }

    /// Returns the frames of a stack ([`Symbols::frames_of`]), with the sources of the trace.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn frames(&self, symbols: &mut Symbols, stack: &Stack) -> Result<Vec<Vec<Frame>>, Error> {
        let failed = RefCell::new(None);
        let line = |place: &(String, u32)| {
            self.line(place).unwrap_or_else(|error| {
                failed.borrow_mut().get_or_insert(error);
                None
            })
        };
        let frames = symbols.frames_of(stack, &line);
        failed.into_inner().map_or(Ok(frames), Err)
    }

    /// The path that a file had when it was mapped, if this one led to it through links, as far as its name tells.
    #[must_use]
    pub fn linked(&self, path: &Path) -> Option<PathBuf> {
        let mut named =
            self.trace.files().map(|file| file.path).filter(|it| it.file_name() == path.file_name());
        let found = named.next();
        // Of two it is not certain which was meant.
        found.filter(|found| named.all(|other| other == *found)).map(Path::to_owned)
    }

    /// Lays out all files that the trace carries, and links to those of this machine that are the recorded ones, as they
    /// were in the recorded machine's directories. Returns the directory.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn lay_out(&self) -> Result<&Path, Error> {
        let attached = self.trace.attached().map(|file| file.path.to_owned());
        let all: Vec<PathBuf> = attached.chain(self.trace.files().map(|file| file.path.to_owned())).collect();
        for path in &all {
            if let Some(file) = self.file(path)? {
                for path in names(path) {
                    self.link(&path, &file)?;
                }
            }
        }
        Ok(self.directory.path())
    }

    /// Where a path of the recorded machine lies in the directory.
    fn place(&self, path: &Path) -> PathBuf {
        let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
        self.directory.path().join(parts.collect::<PathBuf>())
    }

    fn link(&self, path: &Path, file: &Path) -> Result<(), Error> {
        let place = self.place(path);
        if place.exists() {
            return Ok(());
        }
        let failed = |source| Error::Os { what: format!("write `{}`", place.display()), source };
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).map_err(failed)?;
        }
        std::os::unix::fs::symlink(file, &place).map_err(failed)
    }

    /// The recorded path of a mapped file of which a replay knows this much: a long one is cut at its beginning.
    #[must_use]
    pub fn path_of(&self, name: &Path) -> PathBuf {
        let (bytes, all) = (name.as_os_str().as_bytes(), self.trace.files());
        let mut all = all.map(|file| file.path).filter(|path| path.as_os_str().as_bytes().ends_with(bytes));
        let whole = if bytes.len() < LONGEST_NAME { None } else { all.next() };
        whole.unwrap_or(name).to_owned()
    }

    /// Reads the symbols of what a process has mapped ([`Session::mapped`](crate::replay::Session::mapped)), from the
    /// files of this trace.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn symbols(&self, mapped: &[Mapping]) -> Result<Symbols, Error> {
        let mut here = Vec::new();
        for mapping in mapped {
            let path = self.path_of(&mapping.path);
            let Some(file) = self.file(&path)? else { continue };
            // What the compiler has split off is looked for beside it.
            let mut split = path.into_os_string();
            split.push(".dwp");
            self.file(Path::new(&split))?;
            here.push(Mapping { path: file, ..mapping.clone() });
        }
        Ok(Symbols::new(&here))
    }
}

/// The paths under which programs know a library: where `/lib` is a link to `/usr/lib`, by that; and the dynamic linker by
/// the one that the ABI gives it (System V ABI, AMD64 supplement, 5.2.1).
fn names(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_owned()];
    names.extend(path.strip_prefix("/usr").ok().map(|rest| Path::new("/").join(rest)));
    let name = path.file_name().filter(|name| name.as_bytes().starts_with(b"ld-linux"));
    names.extend(name.map(|name| Path::new("/lib64").join(name)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_several_paths() {
        let text =
            |path| names(Path::new(path)).iter().map(|it| it.display().to_string()).collect::<Vec<_>>();
        assert_eq!(text("/usr/lib/x/libc.so.6"), ["/usr/lib/x/libc.so.6", "/lib/x/libc.so.6"]);
        assert_eq!(
            text("/lib/ld-linux-x86-64.so.2"),
            ["/lib/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"]
        );
        assert_eq!(text("/home/me/it"), ["/home/me/it"]);
    }
}
