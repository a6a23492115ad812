//! What attempts use, for all `cargo rrtest` on the machine to know: locks on bytes of a file that all of them open.
//!
//! Each thing has three bytes, which its name leads to. On the first an attempt has a lock while it is under way, for itself if it
//! changes the thing: whoever cannot have that makes another attempt meanwhile. On the others a campaign has one from when it
//! knows that it uses the thing up to its end, so that whoever was disturbed by it can see that.
//!
//! An attempt of which it is not known what it will use has a lock on a byte of its own, and sets the file's time when it begins. None
//! begins while another campaign has shut the gate, to make an attempt that nobody disturbs.
//!
//! The locks are the campaign's, by its open file description (fcntl(2), "Open file description locks"): the kernel gives
//! them back when it dies. Nothing is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use rrtest_engine::claims::{Claims, Thing, Use};

use crate::base::hash::fnv1a;

/// The byte on which a campaign has a lock while it makes attempts of which it does not know what they use.
const UNKNOWN: i64 = 0;

/// The byte that whoever shuts the gate has for himself.
const GATE: i64 = 1;

/// What a thing's bytes are for.
#[derive(Clone, Copy)]
enum Byte {
    /// It is in use.
    InUse = 0,
    /// A campaign looks at it now and then.
    LookedAt = 1,
    /// A campaign changes it now and then.
    Changed = 2,
}

/// The locks of a campaign.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// None: it does without.
    file: Option<File>,
    /// The bytes that are locked, and for how many attempts.
    locked: BTreeMap<i64, u32>,
    marked: BTreeSet<i64>,
    /// What the user should know.
    warning: Option<String>,
}

/// Why an attempt cannot begin yet: another campaign is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It uses this.
    InUse(Thing),
    /// It has shut the gate.
    Gate,
}

impl Registry {
    /// Where all look.
    pub(crate) fn place() -> PathBuf {
        std::env::temp_dir().join("rrtest-in-use")
    }

    /// That in this file; none if there is no place for it.
    pub(super) fn open(place: Option<&Path>) -> Self {
        let Some(place) = place else { return Self::default() };
        match file(place) {
            Ok(file) => Self { file: Some(file), ..Self::default() },
            Err(error) => {
                Self { warning: Some(without(&format!("{}: {error}", place.display()))), ..Self::default() }
            }
        }
    }

    /// What the user should know, once.
    pub(super) fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// Lock all of these things for an attempt, or none; if it is not known what it will use, tell that.
    pub(super) fn lock(&mut self, claims: Option<&Claims>) -> Result<(), Taken> {
        let mut done = Vec::new();
        for (byte, how, thing) in bytes(claims) {
            let count = self.locked.get(&byte).copied().unwrap_or(0);
            if count == 0 && !self.set(byte, kind(how)) {
                done.into_iter().for_each(|byte| self.give_back(byte));
                return Err(thing.map_or(Taken::Gate, |thing| Taken::InUse(thing.clone())));
            }
            self.locked.insert(byte, count + 1);
            done.push(byte);
        }
        if claims.is_none() {
            // Whoever shuts the gate looks at the other byte after that.
            if self.is_others(GATE) {
                done.into_iter().for_each(|byte| self.give_back(byte));
                return Err(Taken::Gate);
            }
            self.set_time();
        }
        Ok(())
    }

    /// Let no attempt of another campaign begin of which it does not know what it uses. Whether that could be had.
    pub(super) fn shut_gate(&mut self) -> bool {
        self.set(GATE, libc::F_WRLCK)
    }

    /// Let them begin again.
    pub(super) fn open_gate(&mut self) {
        self.set(GATE, libc::F_UNLCK);
    }

    /// When the last attempt began of which it was not known what it uses; none if nobody tells.
    pub(super) fn time(&self) -> Option<SystemTime> {
        self.file.as_ref()?.metadata().ok()?.modified().ok()
    }

    fn set_time(&mut self) {
        let Some(file) = &self.file else { return };
        // Of a file of others, only this can be set.
        if let Err(errno) = futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW) {
            self.fails(errno);
        }
    }

    /// Tell that there is nothing to do until another campaign is out of the way.
    pub(super) fn tell_of_wait(&mut self, taken: &Taken) {
        let why = match taken {
            Taken::InUse(thing) => format!("uses {thing}, as do the tests that are left"),
            Taken::Gate => "repeats a failure with nobody beside it".to_owned(),
        };
        self.warning = Some(format!("waiting for another `cargo rrtest` on this machine, which {why}"));
    }

    /// The attempt that these were locked for has ended.
    pub(super) fn unlock(&mut self, claims: Option<&Claims>) {
        bytes(claims).into_iter().for_each(|(byte, ..)| self.give_back(byte));
    }

    fn give_back(&mut self, byte: i64) {
        let Some(count) = self.locked.get_mut(&byte) else { return };
        *count -= 1;
        if *count == 0 {
            self.locked.remove(&byte);
            self.set(byte, libc::F_UNLCK);
        }
    }

    /// The campaign uses these things now and then.
    pub(super) fn mark(&mut self, claims: &Claims) {
        for (thing, how) in claims.iter() {
            let byte = byte(thing, if how == Use::Changes { Byte::Changed } else { Byte::LookedAt });
            if self.marked.insert(byte) {
                // Nobody ever has it for himself.
                self.set(byte, libc::F_RDLCK);
            }
        }
    }

    /// A thing of these that another campaign uses in a way that does not go with this.
    pub(super) fn marked_by_others<'a>(&mut self, claims: &'a Claims) -> Option<&'a Thing> {
        let mut meets = |thing: &Thing, how: Use| {
            self.is_others(byte(thing, Byte::Changed))
                || how == Use::Changes && self.is_others(byte(thing, Byte::LookedAt))
        };
        claims.iter().find(|(thing, how)| meets(thing, *how)).map(|(thing, _)| thing)
    }

    /// Whether another campaign makes attempts of which it does not know what they use.
    pub(super) fn others_are_unknown(&mut self) -> bool {
        self.is_others(UNKNOWN)
    }

    /// Whether it could be locked; so it is then. Errors are no reason to do nothing.
    fn set(&mut self, byte: i64, kind: i32) -> bool {
        let Some(file) = &self.file else { return true };
        match fcntl(file, FcntlArg::F_OFD_SETLK(&lock(byte, kind))) {
            Err(Errno::EAGAIN | Errno::EACCES) => false,
            Err(errno) => {
                self.fails(errno);
                true
            }
            Ok(_) => true,
        }
    }

    fn is_others(&mut self, byte: i64) -> bool {
        let Some(file) = &self.file else { return false };
        let mut asked = lock(byte, libc::F_WRLCK);
        match fcntl(file, FcntlArg::F_OFD_GETLK(&mut asked)) {
            Err(errno) => {
                self.fails(errno);
                false
            }
            Ok(_) => i32::from(asked.l_type) != libc::F_UNLCK,
        }
    }

    fn fails(&mut self, errno: Errno) {
        self.file = None;
        self.warning = Some(without(&errno.to_string()));
    }
}

fn without(why: &str) -> String {
    format!("attempts cannot be kept apart from those of another `cargo rrtest` on this machine\n  {why}")
}

/// The file, for all users.
fn file(place: &Path) -> io::Result<File> {
    /// Whoever finds it uses it.
    const MODE: u32 = 0o666;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    match options.open(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.clone().create_new(true).mode(MODE).open(place) {
        Ok(file) => {
            // The umask may have taken something away.
            file.set_permissions(Permissions::from_mode(MODE))?;
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(place),
        Err(error) => Err(error),
    }
}

/// The bytes to lock for an attempt, each with the thing that it is for, if that is known.
fn bytes(claims: Option<&Claims>) -> Vec<(i64, Use, Option<&Thing>)> {
    match claims {
        Some(claims) => {
            claims.iter().map(|(thing, how)| (byte(thing, Byte::InUse), how, Some(thing))).collect()
        }
        None => vec![(UNKNOWN, Use::Looks, None)],
    }
}

fn byte(thing: &Thing, which: Byte) -> i64 {
    // Positive, and with room for all that a thing has; the first four are for other purposes.
    let hash = fnv1a(thing.to_string().as_bytes()) >> 3;
    (hash as i64).max(1) << 2 | which as i64
}

fn kind(how: Use) -> i32 {
    match how {
        Use::Looks => libc::F_RDLCK,
        Use::Changes => libc::F_WRLCK,
    }
}

fn lock(byte: i64, kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: byte,
        l_len: 1,
        // As these locks want it.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(how: Use) -> Claims {
        let mut claims = Claims::default();
        claims.add(Thing::Tcp(8080), how);
        claims
    }

    #[test]
    fn two_campaigns_are_kept_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("in-use");
        let [mut one, mut other] = [(); 2].map(|()| Registry::open(Some(&place)));
        let (looks, changes) = (claims(Use::Looks), claims(Use::Changes));
        assert_eq!(one.lock(Some(&looks)), Ok(()));
        assert_eq!(one.lock(Some(&looks)), Ok(()), "a second attempt of ours looks, too");
        assert_eq!(other.lock(Some(&looks)), Ok(()));
        other.unlock(Some(&looks));
        one.unlock(Some(&looks));
        let taken = Taken::InUse(Thing::Tcp(8080));
        assert_eq!(other.lock(Some(&changes)).as_ref(), Err(&taken), "one still looks");
        one.unlock(Some(&looks));
        assert_eq!(other.lock(Some(&changes)), Ok(()));
        assert_eq!(one.lock(Some(&looks)).as_ref(), Err(&taken));
        one.tell_of_wait(&taken);
        assert!(one.warning().is_some_and(|warning| warning.contains(" which uses TCP port 8080, ")));
        drop(other);
        assert_eq!(one.lock(Some(&changes)), Ok(()), "the other one is no more");
    }

    #[test]
    fn what_others_use_is_seen() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("in-use");
        let [mut one, mut other] = [(); 2].map(|()| Registry::open(Some(&place)));
        let (looks, changes) = (claims(Use::Looks), claims(Use::Changes));
        one.mark(&looks);
        assert_eq!(one.marked_by_others(&changes), None);
        assert_eq!(other.marked_by_others(&looks), None);
        assert_eq!(other.marked_by_others(&changes), Some(&Thing::Tcp(8080)));
        one.mark(&changes);
        assert_eq!(other.marked_by_others(&looks), Some(&Thing::Tcp(8080)));
        assert_eq!(one.lock(None), Ok(()));
        assert!(other.others_are_unknown() && !one.others_are_unknown());
        one.unlock(None);
        assert!(!other.others_are_unknown());
        assert!(other.shut_gate() && !one.shut_gate());
        assert_eq!(one.lock(None), Err(Taken::Gate));
        assert!(!other.others_are_unknown(), "it has not begun");
        other.open_gate();
        assert_eq!(one.lock(None), Ok(()));
    }

    #[test]
    fn without_a_place_it_goes_on_and_says_so_once() {
        let mut registry = Registry::open(Some(Path::new("/nowhere/in-use")));
        assert!(registry.warning().is_some_and(|warning| warning.contains("/nowhere/in-use")));
        assert_eq!(registry.warning(), None);
        assert_eq!(registry.lock(Some(&claims(Use::Changes))), Ok(()));
        registry.unlock(Some(&claims(Use::Changes)));
        assert!(!registry.others_are_unknown());
    }
}
