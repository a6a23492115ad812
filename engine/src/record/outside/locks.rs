//! File locks: finds who has the lock for which a task waits.
//!
//! `/proc/locks` (proc_locks(5)) lists each lock, followed by the waiters in any order. An fcntl(2) lock belongs to a
//! process. A flock(2) lock, or an open file description lock, belongs to every process with a descriptor of that
//! description; `/proc/PID/fdinfo` shows it there (proc_pid_fdinfo(5)).
//!
//! The list distinguishes processes, but not threads, and for open file descriptions not even processes. If several
//! tasks wait for the same file, all its locks are returned.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

use nix::unistd::Pid;

use crate::record::kernel::fds::{info, links};
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;

/// A line of `/proc/locks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::record) struct Lock {
    /// `FLOCK`, `POSIX` or `OFDLCK`.
    pub(in crate::record) kind: String,
    /// `READ` or `WRITE`.
    pub(super) access: String,
    /// The process that requested it; -1 for an open file description lock.
    pub(in crate::record) pid: i32,
    /// The file: major and minor device number of its file system, and inode.
    file: String,
    /// First and last byte.
    range: (String, String),
}

impl Lock {
    /// Parses a line without its number. Also returns whether it is a waiter, marked by `->`.
    pub(in crate::record) fn decode(line: &str) -> Option<(Self, bool)> {
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let waits = words.first() == Some(&"->");
        if waits {
            words.remove(0);
        }
        let [kind, _, access, pid, file, start, end] = words[..] else { return None };
        let lock = Self {
            kind: kind.to_owned(),
            access: access.to_owned(),
            pid: pid.parse().ok()?,
            file: file.to_owned(),
            range: (start.to_owned(), end.to_owned()),
        };
        Some((lock, waits))
    }

    /// Whether a descriptor refers to the open file description that has the lock.
    fn is_of(&self, pid: Pid, fd: i32) -> bool {
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        let locks = info.lines().filter_map(|line| line.strip_prefix("lock:")).filter_map(Self::decode);
        locks.into_iter().any(|(lock, _)| lock == *self)
    }

    /// Returns the descriptors of these processes that refer to the open file description that has the lock.
    pub(in crate::record) fn holders(&self, processes: impl IntoIterator<Item = Pid>) -> Vec<(Pid, i32)> {
        let inode = self.file.rsplit(':').next().unwrap_or_default();
        let all = processes.into_iter().flat_map(|pid| links(pid).map(move |(fd, link)| (pid, fd, link)));
        all.filter(|(pid, fd, link)| {
            let on_disk = link.starts_with('/');
            on_disk && info(*pid, *fd as u64, "ino:").is_none_or(|ino| ino == inode) && self.is_of(*pid, *fd)
        })
        .map(|(pid, fd, _)| (pid, fd))
        .collect()
    }
}

/// Kinds of locks.
pub(in crate::record) const FLOCK: &str = "FLOCK";
pub(in crate::record) const POSIX: &str = "POSIX";
pub(super) const OFD: &str = "OFDLCK";

/// Returns the kind of lock for which a call waits.
pub(in crate::record) fn kind(number: i64, args: &[u64; 6]) -> Option<&'static str> {
    match (number, args[1] as i32) {
        (libc::SYS_flock, _) => Some(FLOCK),
        (libc::SYS_fcntl, libc::F_SETLKW) => Some(POSIX),
        (libc::SYS_fcntl, libc::F_OFD_SETLKW) => Some(OFD),
        _ => None,
    }
}

/// Returns the locks for one of which a process waits in a call on descriptor `fd`; `kind` is as in [`Lock::kind`].
pub(in crate::record) fn waited_for(tid: Pid, pid: Pid, fd: u64, kind: &str) -> Vec<Lock> {
    let text = std::fs::read_to_string("/proc/locks");
    let (Some(file), Ok(text)) = (file(tid, fd), text) else { return Vec::new() };
    let asks = if kind == OFD { -1 } else { pid.as_raw() };
    held(&text, &file, asks, kind)
}

/// Returns the locks in the text of `/proc/locks` that have such a waiter.
fn held(text: &str, file: &str, asks: i32, kind: &str) -> Vec<Lock> {
    let mut holds = None;
    let mut all = Vec::new();
    for (lock, waits) in text.lines().filter_map(Lock::decode) {
        if !waits {
            holds = Some(lock);
        } else if lock.file == file && lock.pid == asks && lock.kind == kind {
            all.extend(holds.clone().filter(|lock| !all.contains(lock)));
        }
    }
    all
}

/// The tasks that have taken locks.
#[derive(Debug, Default)]
pub(in crate::record) struct Takers(BTreeMap<(Identity, &'static str), Taken>);

/// A file's device and inode, as stat(2) reports them.
type Identity = (u64, u64);

#[derive(Debug)]
struct Taken {
    last: TaskId,
    all: BTreeSet<TaskId>,
}

impl Takers {
    fn add(&mut self, file: Identity, kind: &'static str, id: TaskId) {
        let taken = self.0.entry((file, kind)).or_insert_with(|| Taken { last: id, all: BTreeSet::new() });
        taken.last = id;
        taken.all.insert(id);
    }

    /// Returns the task that has taken a lock, if it is certain. The last task to take an exclusive lock on a whole
    /// file has it.
    pub(in crate::record) fn of(&self, file: Identity, lock: &Lock) -> Option<TaskId> {
        let kind = [FLOCK, POSIX, OFD].into_iter().find(|kind| *kind == lock.kind)?;
        let taken = self.0.get(&(file, kind))?;
        let exclusive = kind == FLOCK && lock.access == "WRITE";
        (exclusive || taken.all.len() == 1).then_some(taken.last)
    }
}

impl Takers {
    /// Notes a call that has taken a lock.
    pub(in crate::record) fn note_taken(&mut self, tasks: &Tasks, id: TaskId, call: &Call) {
        let [fd, what, at, ..] = call.args();
        let what = what as i32;
        let kind = match call.number() as i64 {
            libc::SYS_flock if what & libc::LOCK_UN == 0 => FLOCK,
            libc::SYS_fcntl if matches!(what, libc::F_SETLK | libc::F_SETLKW) => POSIX,
            libc::SYS_fcntl if matches!(what, libc::F_OFD_SETLK | libc::F_OFD_SETLKW) => OFD,
            _ => return,
        };
        // struct flock begins with the kind of lock, a short.
        let unlocks = |word: u32| i32::from(word as i16) == libc::F_UNLCK;
        if kind != FLOCK && tasks.space(id).memory.u32(at).is_ok_and(unlocks) {
            return;
        }
        if let Some(file) = identity(tasks[id].tid, fd) {
            self.add(file, kind, id);
        }
    }

    /// Returns the task that has the lock on the file of a descriptor, if it is certain and the task lives.
    pub(in crate::record) fn taker_of(
        &self,
        tasks: &Tasks,
        tid: Pid,
        fd: u64,
        lock: &Lock,
    ) -> Option<TaskId> {
        let lives = |id: &TaskId| tasks.living().any(|task| task.id == *id);
        self.of(identity(tid, fd)?, lock).filter(lives)
    }
}

fn identity(tid: Pid, fd: u64) -> Option<Identity> {
    let metadata = std::fs::metadata(format!("/proc/{tid}/fd/{}", fd as i32)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns the name that `/proc/locks` gives to a descriptor's file. The device is that of the file system; stat(2) may
/// report another one (btrfs, overlayfs).
fn file(tid: Pid, fd: u64) -> Option<String> {
    let (mount, inode) = (info(tid, fd, "mnt_id:")?, info(tid, fd, "ino:")?);
    let mounts = std::fs::read_to_string(format!("/proc/{tid}/mountinfo")).ok()?;
    // mount ID, parent ID, major:minor …
    let mut numbers = mounts.lines().map(|line| line.split_whitespace());
    let device = numbers.find_map(|mut words| {
        (words.next() == Some(&mount)).then(|| words.nth(1).map(str::to_owned)).flatten()
    })?;
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("{major:02x}:{minor:02x}:{inode}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 6542 fe:00:58 0 EOF
1: -> FLOCK  ADVISORY  WRITE 6543 fe:00:58 0 EOF
1:  -> FLOCK  ADVISORY  READ 6544 fe:00:58 0 EOF
2: POSIX  ADVISORY  READ 7 fe:00:59 0 9
3: POSIX  ADVISORY  WRITE 8 fe:00:59 10 19
3: -> POSIX  ADVISORY  WRITE 9 fe:00:59 10 10
4: OFDLCK ADVISORY  WRITE -1 fe:00:60 0 EOF
4: -> OFDLCK ADVISORY  WRITE -1 fe:00:60 0 EOF
5: OFDLCK ADVISORY  WRITE -1 fe:00:60 7 7
5: -> OFDLCK ADVISORY  WRITE -1 fe:00:60 7 7
";

    #[test]
    fn who_has_taken_a_lock_is_said_only_where_it_is_certain() {
        let mut takers = Takers::default();
        let held = |kind: &str, access: &str| Lock {
            kind: kind.to_owned(),
            access: access.to_owned(),
            pid: 1,
            file: "fe:00:58".to_owned(),
            range: ("0".to_owned(), "EOF".to_owned()),
        };
        for id in [1, 2] {
            takers.add((1, 2), FLOCK, TaskId(id));
            takers.add((1, 2), POSIX, TaskId(2));
        }
        assert_eq!(takers.of((1, 2), &held(FLOCK, "WRITE")), Some(TaskId(2)));
        assert_eq!(takers.of((1, 2), &held(FLOCK, "READ")), None, "either of them");
        assert_eq!(takers.of((1, 2), &held(POSIX, "READ")), Some(TaskId(2)));
        assert_eq!(takers.of((1, 3), &held(FLOCK, "WRITE")), None);
    }

    #[test]
    fn the_lock_at_the_head_of_a_queue_is_found() {
        let found = |file: &str, pid, kind: &str| {
            held(LOCKS, file, pid, kind).into_iter().map(|lock| lock.range.0).collect::<Vec<_>>()
        };
        assert_eq!(found("fe:00:58", 6543, "FLOCK"), ["0"]);
        assert_eq!(found("fe:00:58", 6544, "FLOCK"), ["0"]);
        assert_eq!(found("fe:00:59", 9, "POSIX"), ["10"]);
        assert_eq!(found("fe:00:60", -1, "OFDLCK"), ["0", "7"], "any of them may be the one");
        assert_eq!(found("fe:00:59", 7, "POSIX"), [""; 0], "it has its lock");
        assert_eq!(found("fe:00:58", 9, "POSIX"), [""; 0], "another file");
    }

    #[test]
    fn who_has_a_description_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let again = std::fs::File::open(file.path()).unwrap();
        let lock = nix::fcntl::Flock::lock(file.reopen().unwrap(), nix::fcntl::FlockArg::LockExclusive);
        let lock = lock.unwrap();
        let own = Pid::this();
        let [has, other] = [&*lock, &again].map(|file| std::os::fd::AsRawFd::as_raw_fd(file) as u64);
        assert_eq!(super::file(own, has), super::file(own, other));
        let name = super::file(own, has).unwrap();
        let text = std::fs::read_to_string("/proc/locks").unwrap();
        let of_file = text.lines().filter_map(Lock::decode).find(|(lock, _)| lock.file == name);
        let (lock, _) = of_file.unwrap();
        assert_eq!((&*lock.kind, &*lock.access, lock.pid), ("FLOCK", "WRITE", own.as_raw()));
        assert_eq!(lock.holders([own]), [(own, has as i32)]);
    }
}
