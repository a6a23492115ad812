//! Unnamed files in memory.

use std::ffi::CStr;
use std::fs::File;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::Error;
use crate::tracee::system::os;

/// Creates an empty file in memory, which `/proc` shows as `name`.
///
/// # Errors
/// If the kernel has no descriptor for it.
pub fn memory_file(name: &CStr) -> Result<File, Error> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| os("create a memory file")(errno.into()))?;
    Ok(fd.into())
}
