//! Unnamed files in memory.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::Error;
use crate::tracee::system::os;

/// Bytes of the longest name (memfd_create(2)).
pub const LONGEST_NAME: usize = 249;

/// Creates a file in memory that stands in for one of this name, which `/proc` shows.
///
/// # Errors
/// As [`memory_file`].
pub fn stand_in(path: &Path) -> Result<File, Error> {
    let name = path.as_os_str().as_bytes();
    let end = &name[name.len().saturating_sub(LONGEST_NAME)..];
    memory_file(&CString::new(end).unwrap_or_default())
}

/// Creates an empty file in memory, which `/proc` shows as `name`.
///
/// # Errors
/// If the kernel has no descriptor for it.
pub fn memory_file(name: &CStr) -> Result<File, Error> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| os("create a memory file")(errno.into()))?;
    Ok(fd.into())
}
