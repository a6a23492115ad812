//! Opens files of which a trace tells the names, and traces: what a name belongs to may be anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file for reading.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] if it is something else: to open a device already has a meaning to some, and to open a FIFO
/// waits for whoever writes to it. Else why it cannot be opened.
pub(super) fn open(path: &Path) -> Result<(File, Metadata)> {
    check(&std::fs::metadata(path)?)?;
    // It may be a FIFO by now.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    check(&metadata)?;
    Ok((file, metadata))
}

fn check(metadata: &Metadata) -> Result<()> {
    let refused = || Error::new(ErrorKind::InvalidInput, "it is not a regular file");
    if metadata.is_file() { Ok(()) } else { Err(refused()) }
}
