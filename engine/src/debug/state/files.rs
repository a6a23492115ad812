//! Files of the trace that gdb has opened.

use std::collections::BTreeMap;
use std::fs::File;

use gdbstub::target::ext::host_io::HostIoErrno;

use crate::carried::Carried;

/// Files that gdb has opened.
pub(in crate::debug) struct Files<'a> {
    carried: &'a Carried<'a>,
    open: BTreeMap<u32, Opened>,
}

/// One of them.
pub(in crate::debug) enum Opened {
    File(File),
    /// Something that there is no file of.
    Text(Vec<u8>),
}

/// gdb opens some, and closes them; more at a time are refused.
const MOST: usize = 256;

impl<'a> Files<'a> {
    pub(in crate::debug) fn new(carried: &'a Carried<'a>) -> Self {
        Self { carried, open: BTreeMap::new() }
    }

    /// What the trace carries.
    pub(in crate::debug) fn carried(&self) -> &'a Carried<'a> {
        self.carried
    }

    /// Returns the number of a file that is opened now.
    ///
    /// # Errors
    /// EMFILE if there are too many.
    pub(in crate::debug) fn add(&mut self, opened: Opened) -> Result<u32, HostIoErrno> {
        if self.open.len() >= MOST {
            return Err(HostIoErrno::EMFILE);
        }
        let free = (3..).find(|number| !self.open.contains_key(number)).ok_or(HostIoErrno::EMFILE)?;
        self.open.insert(free, opened);
        Ok(free)
    }

    /// Returns an open file.
    ///
    /// # Errors
    /// EBADF if there is none of this number.
    pub(in crate::debug) fn get(&self, number: u32) -> Result<&Opened, HostIoErrno> {
        self.open.get(&number).ok_or(HostIoErrno::EBADF)
    }

    /// Closes a file.
    ///
    /// # Errors
    /// EBADF if there is none of this number.
    pub(in crate::debug) fn close(&mut self, number: u32) -> Result<(), HostIoErrno> {
        self.open.remove(&number).map(drop).ok_or(HostIoErrno::EBADF)
    }
}
