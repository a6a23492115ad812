//! What is wrong with a trace, and with which part of it.

use std::io;
use std::path::Path;

use super::block::Fault;
use super::layout::StoredFile;
use crate::trace::TraceError;

/// Names the part of a trace that has the contents of a file.
pub(super) fn contents_of(file: &StoredFile) -> String {
    format!("contents of `{}`", Path::new(&file.path).display())
}

/// Returns the error for a block of this part that cannot be read.
pub(super) fn faulty(path: &Path, part: &str, fault: Fault) -> TraceError {
    match fault {
        // The file was as long as it should be when it was opened.
        Fault::Read(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            damaged(path, part, "the file became shorter")
        }
        Fault::Read(source) => TraceError::Read { path: path.to_owned(), source },
        Fault::Damaged(what) => damaged(path, part, what),
    }
}

/// Returns the error for a part that is not what was written.
pub(super) fn damaged(path: &Path, part: &str, what: &str) -> TraceError {
    TraceError::Damaged { path: path.to_owned(), what: format!("{part}: {what}") }
}
