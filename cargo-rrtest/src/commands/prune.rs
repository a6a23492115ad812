//! Keeps a store of traces within its limit.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use rrtest_engine::trace::Trace;

use crate::base::exit::CliError;
use crate::base::terminal::{CAUTION, GOOD};
use crate::base::words::{count, size};
use crate::store::limit;
use crate::store::traces::Store;

/// Delete the oldest traces of a store that has more bytes than `limit`, except the newest of each test, those that others
/// need, and those that somebody is replaying. While another process writes traces there, none is deleted.
///
/// What has been found does not depend on that: if it cannot be done, the user is told, and no more.
pub(crate) fn prune(store: &Store, limit: u64, quiet: bool) {
    if store.dir.is_dir()
        && let Err(CliError { message: Some(message), .. }) = delete_oldest(store, limit, quiet)
    {
        anstream::eprintln!("{CAUTION}warning{CAUTION:#}: old traces stay: {message}");
    }
}

/// The names of the traces that this one needs beside it.
fn needed_by(path: &Path) -> Vec<OsString> {
    // What cannot be read needs nothing.
    Trace::open(path).map(|trace| trace.beside().to_vec()).unwrap_or_default()
}

fn delete_oldest(store: &Store, limit: u64, quiet: bool) -> Result<(), CliError> {
    let Some(_alone) = limit::alone(&store.dir) else { return Ok(()) };
    let entries = store.entries()?;
    let gone: Vec<_> =
        limit::too_many(&entries, needed_by, limit).iter().map(|entry| entry.path.clone()).collect();
    let (mut deleted, mut bytes) = (0, 0);
    // What is being replayed stays, and so does what that needs; that comes after it.
    let mut needed = Vec::new();
    for path in gone {
        if path.file_name().is_some_and(|name| needed.iter().any(|need| need == name)) {
            continue;
        }
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        match limit::delete(&path) {
            Ok(true) => (deleted, bytes) = (deleted + 1, bytes + length),
            Ok(false) => needed.extend(needed_by(&path)),
            // Another run may have thought the same.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::os(format!("cannot delete {}", path.display()), &error)),
        }
    }
    if deleted > 0 && !quiet {
        // Nothing can be done if standard error is closed.
        let _written = writeln!(
            anstream::stderr(),
            "{GOOD}     Deleted{GOOD:#} the oldest {} ({}), as all had more than --trace-limit ({})",
            count(deleted, "trace"),
            size(bytes),
            size(limit)
        );
    }
    Ok(())
}
