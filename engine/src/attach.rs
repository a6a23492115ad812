//! Adds to a kept trace what replay does not need, but who debugs or explains the failure does: the program and its
//! libraries with their debug information, and sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::symbols::debug_files;
use crate::trace::file::unnamed::Unnamed;
use crate::trace::{Attachment, Trace, attach as attach_files};

/// What to attach.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Whether programs and libraries are attached, with all that a debugger needs of them.
    pub debug_info: bool,
    /// The directories of which all sources are attached that the programs' debug information names.
    pub all_sources_in: Option<&'a Path>,
    /// Further files.
    pub files: &'a [PathBuf],
}

/// Attaches files to the trace at `path`, in place: whoever reads it meanwhile sees it as it was, or with all of them.
/// Contents that the traces `beside` it have are not stored again. Returns the files that could not be attached: they
/// have changed since the program mapped them or just before, cannot be read, or have more than 4 GiB together.
///
/// # Errors
/// If the trace cannot be read, or the directory cannot take another file. The trace is then as it was.
pub fn attach(path: &Path, wanted: &Wanted<'_>, beside: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let trace = Trace::open(path)?;
    let beside: Vec<Trace> =
        beside.iter().filter(|other| *other != path).filter_map(|other| Trace::open(other).ok()).collect();
    let mapped: BTreeSet<&Path> = trace.files().map(|file| file.path).collect();
    let mut files: Vec<PathBuf> = Vec::new();
    if wanted.debug_info {
        files.extend(mapped.iter().flat_map(|path| debug_files::of_program(path)));
    }
    if let Some(root) = wanted.all_sources_in {
        let sources = mapped.iter().flat_map(|path| debug_files::sources(path));
        files.extend(sources.filter(|path| is_in(path, root)));
    }
    files.extend_from_slice(wanted.files);
    let (mut seen, mut unreadable, mut attachments) = (BTreeSet::new(), Vec::new(), Vec::new());
    for file in files.into_iter().filter(|file| seen.insert(file.clone())) {
        match Attachment::open(&file) {
            Ok(attachment) => attachments.push(attachment),
            Err(_) => unreadable.push(file),
        }
    }
    if attachments.is_empty() {
        return Ok(unreadable);
    }
    let failed = |source| Error::Os { what: format!("write the trace `{}`", path.display()), source };
    let out = Unnamed::beside(path).map_err(failed)?;
    let left_out = attach_files(&trace, &attachments, &beside, &out)?;
    out.replace(path).map_err(failed)?;
    unreadable.extend(left_out);
    Ok(unreadable)
}

/// Whether a file is one in this directory, whatever links lead there.
#[must_use]
pub fn is_in(file: &Path, directory: &Path) -> bool {
    match (file.canonicalize(), directory.canonicalize()) {
        (Ok(file), Ok(directory)) => file.is_file() && file.starts_with(directory),
        _ => false,
    }
}
