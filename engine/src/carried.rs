//! What a trace carries for debuggers, as files: programs and libraries with their debug information, and sources.
//!
//! A trace means the same wherever it is read. So a file of this machine stands in for one that the trace does not
//! carry whole only if its contents are those that were recorded, and never for a source, of which there is no record.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

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
}

impl<'a> Carried<'a> {
    /// Those of this trace.
    ///
    /// # Errors
    /// If no temporary directory can be made.
    pub fn by(trace: &'a Trace) -> Result<Self, Error> {
        let directory = tempfile::Builder::new().prefix("rrtest-files-").tempdir();
        let directory = directory.map_err(os("create a temporary directory"))?;
        Ok(Self { trace, directory, found: RefCell::default() })
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
        let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
        let copy = self.directory.path().join(parts.collect::<PathBuf>());
        let failed = |source| Error::Os { what: format!("write `{}`", copy.display()), source };
        if let Some(above) = copy.parent() {
            fs::create_dir_all(above).map_err(failed)?;
        }
        let to = File::create(&copy).map_err(failed)?;
        self.trace.extract(path, &to).map_err(|error| match error {
            TraceError::Write { source, .. } => failed(source),
            error => error.into(),
        })?;
        Ok(copy)
    }

    /// Reads a source, as text; none if the trace carries no such source.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn source(&self, path: &Path) -> Result<Option<String>, Error> {
        if !self.trace.attached().any(|file| file.path == path && file.bytes <= LARGEST_SOURCE) {
            return Ok(None);
        }
        let Some(file) = self.file(path)? else { return Ok(None) };
        let bytes = fs::read(&file)
            .map_err(|source| Error::Os { what: format!("read `{}`", file.display()), source })?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
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
