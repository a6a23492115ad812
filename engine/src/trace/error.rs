//! Why a trace cannot be read or written.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::machine::Lacking;
use super::{FORMAT, OLDEST};

/// Why a trace cannot be read or written. Every variant names the file, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The operating system refused to open or read the file.
    #[error("cannot read the trace `{}`: {source}", path.display())]
    Read {
        /// The trace.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// Something else than a trace.
    #[error("`{}` is not a trace: {why}\n  traces are files that `cargo rrtest` has kept, named *.rrtrace", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: &'static str,
    },
    /// The file is shorter than it was written.
    #[error("the trace `{}` is truncated: it has {len} of {expected} bytes\n  download or copy it again", path.display())]
    Truncated {
        /// The trace.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length it must have.
        expected: u64,
    },
    /// The file's bytes are not those that were written.
    #[error("the trace `{}` is damaged: {what}\n  download or copy it again", path.display())]
    Damaged {
        /// The trace.
        path: PathBuf,
        /// Which part, and how that shows.
        what: String,
    },
    /// The file has a format that only later versions know.
    #[error(
        "the trace `{}` was made by cargo-rrtest {tool} in format {format}; this version reads format {FORMAT}\n  \
         `cargo install cargo-rrtest --version {tool}`, or a later one, reads it",
        path.display()
    )]
    Newer {
        /// The trace.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The version of cargo-rrtest that made it.
        tool: String,
    },
    /// The file has a format that is no longer read.
    #[error(
        "the trace `{}` was made by cargo-rrtest {tool} in format {format}; this version reads formats from {OLDEST} on\n  \
         record it again, or read it with `cargo install cargo-rrtest --version {tool}`",
        path.display()
    )]
    Older {
        /// The trace.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The version of cargo-rrtest that made it.
        tool: String,
    },
    /// The recorded processes had another system-call buffer than this version has.
    #[error(
        "the trace `{}` was made by cargo-rrtest {tool}, whose system-call buffer is not this version's\n  \
         record it again, or read it with the cargo-rrtest that made it",
        path.display()
    )]
    Buffer {
        /// The trace.
        path: PathBuf,
        /// The version of cargo-rrtest that made it.
        tool: String,
    },
    /// The file records another processor's instructions.
    #[error(
        "the trace `{}` was recorded on another kind of machine (ELF machine number {machine}); this is x86-64\n  \
         replay it on the kind of machine that recorded it",
        path.display()
    )]
    Machine {
        /// The trace.
        path: PathBuf,
        /// `EM_*` of `elf.h`.
        machine: u16,
    },
    /// Contents of its mapped files are in another trace, which is gone.
    #[error(
        "the trace `{}` has the contents of its files in `{}`, which is not beside it\n  \
         copy that along, or run `cargo rrtest pack` on the trace where both are: it stands alone then",
        path.display(),
        other.display()
    )]
    Beside {
        /// The trace.
        path: PathBuf,
        /// The other one's name.
        other: OsString,
    },
    /// This processor cannot execute what the recorded one could.
    #[error(
        "the trace `{}` {lacking}, which this processor ({here}) does not have\n  \
         it was recorded with {recorded}: replay it on such a processor, or record with `--cpu v2`, which all have",
        path.display()
    )]
    Processor {
        /// The trace.
        path: PathBuf,
        /// What it lacks.
        lacking: Lacking,
        /// The recorded one.
        recorded: String,
        /// This one.
        here: String,
    },
    /// A file that the program had mapped is no longer what it was when it was mapped.
    #[error(
        "`{}` was modified after the recorded program had mapped it, so the recording cannot be kept or replayed\n  \
         keep other programs from writing to it while tests run",
        .0.display()
    )]
    Modified(PathBuf),
    /// A file that the program had mapped cannot be read.
    #[error("cannot read `{}`, which the recorded program had mapped: {source}", path.display())]
    Mapped {
        /// The mapped file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The recording outgrew memory and could not be moved to a temporary file.
    #[error(
        "cannot keep a large recording in a temporary file in `{}`: {source}\n  \
         free space there, or set TMPDIR to a directory that has it",
        directory.display()
    )]
    Spill {
        /// Where.
        directory: PathBuf,
        /// The refusal.
        source: Arc<io::Error>,
    },
    /// An event or the head cannot be put into the format.
    #[error("this recording cannot be written as a trace: {0}")]
    Unwritable(String),
    /// The trace could not be written.
    #[error(
        "cannot write a trace to `{}` (after {written} bytes): {source}\n  \
         free space there, or choose another directory for traces",
        directory.display()
    )]
    Write {
        /// The directory.
        directory: PathBuf,
        /// How far it came.
        written: u64,
        /// The refusal.
        source: io::Error,
    },
}
