//! A list that a trace cannot make grow for ever.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Endpoint;

/// Bytes that the things in a list have room for.
const ROOM: usize = 4 << 20;

/// Different things, in order, as many as there is room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    some: BTreeSet<T>,
    room: usize,
    full: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { some: BTreeSet::new(), room: ROOM, full: false }
    }
}

impl<T: Ord> Listed<T> {
    /// Iterates over those that are listed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.some.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.some.is_empty() && !self.full
    }

    /// Whether there were more than there is room for.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.full
    }

    pub(super) fn add(&mut self, thing: T)
    where
        T: Bytes,
    {
        if self.some.contains(&thing) {
            return;
        }
        match self.room.checked_sub(size_of::<T>() + thing.bytes()) {
            Some(room) => {
                self.room = room;
                self.some.insert(thing);
            }
            None => self.full = true,
        }
    }
}

/// How many bytes a thing has beside itself.
pub(super) trait Bytes {
    fn bytes(&self) -> usize;
}

impl Bytes for u32 {
    fn bytes(&self) -> usize {
        0
    }
}

impl Bytes for OsString {
    fn bytes(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Bytes for PathBuf {
    fn bytes(&self) -> usize {
        self.as_os_str().as_bytes().len()
    }
}

impl Bytes for Vec<OsString> {
    fn bytes(&self) -> usize {
        self.iter().map(|word| size_of::<OsString>() + word.bytes()).sum()
    }
}

impl Bytes for Endpoint {
    fn bytes(&self) -> usize {
        match self {
            Self::Port(..) => 0,
            Self::Path(path) => path.bytes(),
            Self::Abstract(name) => name.bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_much_as_there_is_room_for() {
        let mut list = Listed::default();
        assert!(list.is_empty());
        let name = |n: usize| OsString::from(format!("{n:1000}"));
        (0..2).for_each(|_| (0..10).for_each(|n| list.add(name(n))));
        assert_eq!((list.iter().len(), list.is_cut_off()), (10, false));
        (0..10_000).for_each(|n| list.add(name(n)));
        assert!(list.is_cut_off());
        assert!((4_000..4_200).contains(&list.iter().len()), "{}", list.iter().len());
    }
}
