//! The index of format 10, which knew no attached files.

use std::ffi::OsString;

use serde::Deserialize;

use super::layout::{self, StoredEntry, StoredFile};
use crate::ending::{Ending, Stats};
use crate::program::Program;
use crate::trace::machine::Machine;

/// What [`layout::Index`] was.
#[derive(Deserialize)]
pub(super) struct Index {
    machine: Machine,
    program: Program,
    ending: Ending,
    stats: Stats,
    info: String,
    events: (u64, u64),
    count: u64,
    entries: Vec<StoredEntry>,
    files: Vec<StoredFile>,
    beside: Vec<OsString>,
}

impl From<Index> for layout::Index {
    fn from(old: Index) -> Self {
        Self {
            machine: old.machine,
            program: old.program,
            ending: old.ending,
            stats: old.stats,
            info: old.info,
            events: old.events,
            count: old.count,
            entries: old.entries,
            files: old.files,
            beside: old.beside,
            attached: Vec::new(),
        }
    }
}
