//! Which traces go when a store has grown too large, and which stay because somebody is at them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::traces::Entry;

/// A trace that stays where it is as long as there is this.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: Option<Flock<File>>,
}

/// Let a trace stay where it is, whoever else thinks that the store is too large. Where files cannot be locked, nobody can delete it
/// for that reason either.
pub(crate) fn hold(path: &Path) -> Held {
    let lock = |file| Flock::lock(file, FlockArg::LockSharedNonblock).ok();
    Held { _lock: File::open(path).ok().and_then(lock) }
}

/// That somebody writes traces into a directory, which flock(2) locks as it does a file: none of them is to be deleted meanwhile; none if it cannot be locked.
pub(crate) fn writing(dir: &Path) -> Held {
    let lock = |file| Flock::lock(file, FlockArg::LockShared).ok();
    Held { _lock: File::open(dir).ok().and_then(lock) }
}

/// That nobody else writes traces into a directory; none if somebody does, or if that cannot be known.
pub(crate) fn alone(dir: &Path) -> Option<Held> {
    let lock = Flock::lock(File::open(dir).ok()?, FlockArg::LockExclusiveNonblock).ok()?;
    Some(Held { _lock: Some(lock) })
}

/// Delete a trace, unless somebody holds it. Whether it is gone.
pub(crate) fn delete(path: &Path) -> std::io::Result<bool> {
    match Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(_locked) => std::fs::remove_file(path).map(|()| true),
        Err((_, Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// The traces to delete so that all have no more bytes than `limit`, the oldest first. The newest of each test is not among
/// them, nor is one that another needs that stays: `needs` tells which file names that are. `entries` are in the store's order,
/// the newest first.
pub(crate) fn too_many(entries: &[Entry], needs: impl Fn(&Path) -> Vec<OsString>, limit: u64) -> Vec<&Entry> {
    let mut all: u64 = entries.iter().map(|entry| entry.size).sum();
    if all <= limit {
        return Vec::new();
    }
    let mut tests = HashSet::new();
    let spare: Vec<_> = entries.iter().filter(|entry| !tests.insert(test_of(&entry.name))).collect();
    let needs: Vec<Vec<OsString>> = entries.iter().map(|entry| needs(&entry.path)).collect();
    let mut gone: Vec<&Entry> = Vec::new();
    // Where the last of those goes that need a trace, that one may go as well.
    loop {
        let before = gone.len();
        for entry in spare.iter().rev() {
            if all <= limit {
                return gone;
            }
            let is_gone = |other: &Entry| gone.iter().any(|gone| gone.path == other.path);
            let name = entry.path.file_name();
            let needed = entries.iter().zip(&needs).any(|(other, needs)| {
                !is_gone(other) && needs.iter().any(|need| Some(need.as_os_str()) == name)
            });
            if !needed && !is_gone(entry) {
                all -= entry.size;
                gone.push(entry);
            }
        }
        if gone.len() == before {
            return gone;
        }
    }
}

/// The part of a trace's name that says of which test it is: without the seed, and the number behind that.
fn test_of(name: &str) -> &str {
    fn without(name: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        name.rsplit_once('-').filter(|(_, last)| is_it(last)).map(|(rest, _)| rest)
    }
    let is_seed = |last: &str| last.len() == 8 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = |last: &str| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = || without(without(name, is_number)?, is_seed);
    without(name, is_seed).or_else(numbered).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |(age, name): (u64, &&str)| Entry {
            path: format!("/t/{name}.rrtrace").into(),
            name: (*name).to_owned(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age),
            size: 10,
        };
        (0..).zip(names).map(entry).collect()
    }

    fn gone(names: &[&str], limit: u64) -> Vec<String> {
        too_many(&entries(names), |_| Vec::new(), limit).iter().map(|entry| entry.name.clone()).collect()
    }

    #[test]
    fn the_oldest_go_and_the_newest_of_each_test_stays() {
        let names = ["p-a-00000003", "p-a-00000002-2", "p-a-00000002", "p-b-00000001", "p-a-00000001"];
        assert_eq!(gone(&names, 50), [""; 0]);
        assert_eq!(gone(&names, 49), ["p-a-00000001"]);
        assert_eq!(gone(&names, 30), ["p-a-00000001", "p-a-00000002"]);
        assert_eq!(gone(&names, 0), ["p-a-00000001", "p-a-00000002", "p-a-00000002-2"]);
    }

    #[test]
    fn what_another_needs_stays_until_that_goes() {
        let names = ["p-b-00000004", "p-a-00000003", "p-a-00000002", "p-a-00000001"];
        let gone = |who: &str, limit| {
            let needs = |path: &Path| match path.to_string_lossy().contains(who) {
                true => vec!["p-a-00000001.rrtrace".into()],
                false => Vec::new(),
            };
            let entries = entries(&names);
            let gone = too_many(&entries, needs, limit);
            gone.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(gone("p-b", 0), ["p-a-00000002"]);
        assert_eq!(gone("p-a-00000002", 30), ["p-a-00000002"]);
        assert_eq!(gone("p-a-00000002", 0), ["p-a-00000002", "p-a-00000001"]);
    }

    #[test]
    fn while_somebody_writes_nobody_is_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let writing = [writing(dir.path()), writing(dir.path())];
        assert!(alone(dir.path()).is_none());
        drop(writing);
        let alone_now = alone(dir.path());
        assert!(alone_now.is_some() && alone(dir.path()).is_none());
    }

    #[test]
    fn what_somebody_holds_is_not_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.rrtrace");
        std::fs::write(&path, "").expect("a file");
        let held = [hold(&path), hold(&path)];
        assert!(!delete(&path).expect("a file") && path.exists());
        drop(held);
        assert!(delete(&path).expect("a file") && !path.exists());
        assert!(delete(&path).is_err());
    }
}
