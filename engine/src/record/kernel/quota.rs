//! The quota of processor time that the recorder runs under (cgroups(7)).
//!
//! The program is told of cores that are not the machine's. Programs take a quota for a number of cores as well (Rust's
//! `available_parallelism` does): the one here would make another program of it, in each container. So it is shown none.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::trace::log::inodes::{Identity, identity};
use crate::tracee::processor_groups;

/// The files with a quota, of version 2 and 1, and what they contain where there is none. The buffer (`is_recorders` in
/// its `record.rs`) leaves them to the recorder.
const FILES: [(&str, &str); 2] = [("cpu.max", "max 100000\n"), ("cpu.cfs_quota_us", "-1\n")];

/// The files with the recorder's own quota, each with what it is shown to contain: what the program does with other
/// groups is its own affair. None if no group has a quota when the recorder begins.
#[derive(Debug)]
pub(in crate::record) struct Quota(Vec<(Identity, &'static str)>);

impl Quota {
    /// Finds out whether there is a quota.
    pub(in crate::record) fn find() -> Self {
        let mut is_set = false;
        let mut files = Vec::new();
        for dir in processor_groups() {
            for (name, text) in FILES {
                let path = dir.join(name);
                // There are only those of the version that the machine has, and none in the root.
                let Ok(metadata) = std::fs::metadata(&path) else { continue };
                let is_other = |found: String| quota(&found) != quota(text);
                is_set |= std::fs::read_to_string(path).is_ok_and(is_other);
                files.push((identity(&metadata), text));
            }
        }
        Self(if is_set { files } else { Vec::new() })
    }

    /// Whether there is one.
    pub(in crate::record) fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// Returns what a file is shown to contain, if it has the quota.
    pub(in crate::record) fn shown(&self, file: &Metadata) -> Option<&'static str> {
        // The kernel makes such texts as they are read.
        let may_be_one = self.is_set() && file.is_file() && file.len() == 0 && libc::major(file.dev()) == 0;
        let known = may_be_one.then(|| identity(file))?;
        self.0.iter().find(|(identity, _)| *identity == known).map(|(_, text)| *text)
    }
}

/// The quota in a file's text, which version 2 gives with a period.
fn quota(text: &str) -> Option<&str> {
    text.split_whitespace().next()
}
