//! The quota of processor time that the recorder runs under (cgroups(7)).
//!
//! The program is told of cores that are not the machine's. Programs take a quota for a number of cores as well (Rust's
//! `available_parallelism` does): the one here would make another program of it, in each container. So it is shown none.

use std::cell::OnceCell;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::trace::log::inodes::{Identity, identity};
use crate::tracee::processor_groups;

/// The files with a quota, of version 2 and 1, and what they contain where there is none. The buffer (`is_recorders` in
/// its `record.rs`) leaves them to the recorder.
const FILES: [(&str, &str); 2] = [("cpu.max", "max 100000\n"), ("cpu.cfs_quota_us", "-1\n")];

/// The files with the recorder's own quota: what the program does with other groups is its own affair.
#[derive(Debug, Default)]
pub(in crate::record) struct Quota {
    /// Each with what it is shown to contain. Looked for when a file could be one.
    files: OnceCell<Vec<(Identity, &'static str)>>,
}

impl Quota {
    /// Returns what a file is shown to contain, if it has the quota.
    pub(in crate::record) fn shown(&self, file: &Metadata) -> Option<&'static str> {
        // The kernel makes such texts as they are read.
        let may_be_one = file.is_file() && file.len() == 0 && libc::major(file.dev()) == 0;
        let files = may_be_one.then(|| self.files.get_or_init(find))?;
        let known = identity(file);
        files.iter().find(|(identity, _)| *identity == known).map(|(_, text)| *text)
    }
}

fn find() -> Vec<(Identity, &'static str)> {
    let mut found = Vec::new();
    for dir in processor_groups() {
        for (name, text) in FILES {
            // There are only those of the version that the machine has, and none in the root.
            found.extend(std::fs::metadata(dir.join(name)).ok().map(|file| (identity(&file), text)));
        }
    }
    found
}
