//! What a program shares with all others on the machine by name: files, ports, sockets, keys.
//!
//! Two runs of a program can meet there. Something that a run makes under a name of its own, like a temporary
//! directory, looks no different at first: it turns out to be private when no other run claims it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Component, Path, PathBuf};

/// A named thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A file, or a directory with everything in it, by the absolute path that the program uses.
    Path(PathBuf),
    /// A TCP port, on any address.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// An abstract Unix socket (unix(7)), without the leading null byte.
    Socket(Vec<u8>),
    /// A System V key (sysvipc(7)) of this kind.
    Key(ClaimKind, i32),
    /// A POSIX message queue (mq_overview(7)).
    Queue(String),
}

/// The namespaces of System V keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimKind {
    /// shmget(2)
    Memory,
    /// msgget(2)
    Messages,
    /// semget(2)
    Semaphores,
}

impl Display for Thing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Tcp(port) => write!(f, "TCP port {port}"),
            Self::Udp(port) => write!(f, "UDP port {port}"),
            Self::Socket(name) => write!(f, "abstract socket @{}", String::from_utf8_lossy(name)),
            Self::Key(kind, key) => {
                let kind = match kind {
                    ClaimKind::Memory => "shared memory",
                    ClaimKind::Messages => "message queue",
                    ClaimKind::Semaphores => "semaphore",
                };
                write!(f, "System V {kind} key {key:#x}")
            }
            Self::Queue(name) => write!(f, "message queue /{name}"),
        }
    }
}

/// How a program uses a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// It only looks at it: others may look as well.
    Looks,
    /// It changes it: others may not even look.
    Changes,
}

/// The things that a program has used or tried to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<Thing, Use>);

impl Claims {
    /// Adds a use of a thing.
    pub fn add(&mut self, thing: Thing, how: Use) {
        let known = self.0.entry(thing).or_insert(how);
        *known = how.max(*known);
    }

    /// Adds all uses in `others`.
    pub fn extend(&mut self, others: &Self) {
        others.iter().for_each(|(thing, how)| self.add(thing.clone(), how));
    }

    /// Whether the program has used nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the things and how they are used.
    pub fn iter(&self) -> impl Iterator<Item = (&Thing, Use)> {
        self.0.iter().map(|(thing, how)| (thing, *how))
    }

    /// Returns how a thing is used, if it is.
    #[must_use]
    pub fn of(&self, thing: &Thing) -> Option<Use> {
        self.0.get(thing).copied()
    }

    /// Returns the claims to those things for which `keep` is true.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Thing) -> bool) -> Self {
        Self(self.iter().filter(|(thing, _)| keep(thing)).map(|(thing, how)| (thing.clone(), how)).collect())
    }

    /// Returns a thing that two programs use in incompatible ways. Prefers the more specific of two paths.
    #[must_use]
    pub fn conflict<'a>(&'a self, other: &'a Self) -> Option<&'a Thing> {
        if self.is_empty() || other.is_empty() {
            return None;
        }
        self.met_in(other).or_else(|| other.met_in(self))
    }

    /// Returns a thing of `self` that `other` uses incompatibly, or that lies below a directory that `other` changes.
    fn met_in(&self, other: &Self) -> Option<&Thing> {
        let meets = |thing: &Thing, how: Use| {
            let same = other.of(thing).is_some_and(|its| its.max(how) == Use::Changes);
            same || above(thing).any(|above| other.of(&above) == Some(Use::Changes))
        };
        self.iter().find(|(thing, how)| meets(thing, *how)).map(|(thing, _)| thing)
    }
}

/// Iterates over a path's parent directories, except the root.
fn above(thing: &Thing) -> impl Iterator<Item = Thing> {
    let path = match thing {
        Thing::Path(path) => Some(path.as_path()),
        _ => None,
    };
    let above = path.into_iter().flat_map(|path| path.ancestors().skip(1));
    above.filter(|path| *path != Path::new("/")).map(|path| Thing::Path(path.to_owned()))
}

/// Removes `.` and `..` from a path, as if no directory were a symbolic link.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(all: &[(Thing, Use)]) -> Claims {
        Claims(all.iter().cloned().collect())
    }

    fn path(path: &str) -> Thing {
        Thing::Path(path.into())
    }

    #[test]
    fn two_may_look_but_none_while_one_changes() {
        let port = Thing::Tcp(80);
        let (looks, changes) =
            (claims(&[(port.clone(), Use::Looks)]), claims(&[(port.clone(), Use::Changes)]));
        assert_eq!(looks.conflict(&looks), None);
        for (one, other) in [(&looks, &changes), (&changes, &looks), (&changes, &changes)] {
            assert_eq!(one.conflict(other), Some(&port));
        }
        assert_eq!(changes.conflict(&claims(&[(Thing::Udp(80), Use::Changes)])), None);
    }

    #[test]
    fn who_makes_or_removes_a_directory_meets_those_who_are_in_it() {
        let made = claims(&[(path("/tmp/a"), Use::Changes)]);
        let inside = claims(&[(path("/tmp/a/b/c"), Use::Looks)]);
        let looked_at = claims(&[(path("/tmp/a"), Use::Looks)]);
        let beside = claims(&[(path("/tmp/ab"), Use::Changes)]);
        assert_eq!(made.conflict(&inside), Some(&path("/tmp/a/b/c")));
        assert_eq!(inside.conflict(&made), Some(&path("/tmp/a/b/c")));
        assert_eq!(looked_at.conflict(&inside), None);
        assert_eq!(beside.conflict(&made), None);
    }

    #[test]
    fn a_thing_that_is_looked_at_and_changed_is_changed() {
        let mut all = claims(&[(path("/a"), Use::Changes)]);
        all.extend(&claims(&[(path("/a"), Use::Looks), (path("/b"), Use::Looks)]));
        assert_eq!((all.of(&path("/a")), all.of(&path("/b"))), (Some(Use::Changes), Some(Use::Looks)));
        assert_eq!(all.filtered(|thing| *thing == path("/b")), claims(&[(path("/b"), Use::Looks)]));
    }

    #[test]
    fn paths_without_detours() {
        assert_eq!(plain(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(plain(Path::new("/../a")), Path::new("/a"));
    }
}
