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

use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::tracee::{Fd, FileLock, LockKind, LockedFile, file_locks, mounted_device, named_fds};

/// Returns the descriptors of these processes that refer to the open file description that has a lock.
pub(in crate::record) fn holders(lock: &FileLock, processes: impl IntoIterator<Item = Pid>) -> Vec<Fd> {
    let all = processes.into_iter().flat_map(named_fds).filter(|(_, name)| name.starts_with('/'));
    let has = |fd: &Fd| {
        fd.info().is_ok_and(|info| {
            let same = info.inode().is_none_or(|inode| inode == lock.file.inode);
            same && info.locks().any(|its| its == *lock)
        })
    };
    all.map(|(fd, _)| fd).filter(has).collect()
}

/// Returns the kind of lock for which a call waits.
pub(in crate::record) fn kind(number: i64, args: &[u64; 6]) -> Option<LockKind> {
    match (number, args[1] as i32) {
        (libc::SYS_flock, _) => Some(LockKind::Flock),
        (libc::SYS_fcntl, libc::F_SETLKW) => Some(LockKind::Posix),
        (libc::SYS_fcntl, libc::F_OFD_SETLKW) => Some(LockKind::Ofd),
        _ => None,
    }
}

/// Returns the locks for one of which a process waits in a call on descriptor `fd`; `kind` is as in [`kind`].
pub(in crate::record) fn waited_for(tid: Pid, pid: Pid, fd: u64, kind: LockKind) -> Vec<FileLock> {
    let (Some(file), Ok(all)) = (file(Fd::argument(tid, fd)), file_locks()) else { return Vec::new() };
    let asks = if kind == LockKind::Ofd { -1 } else { pid.as_raw() };
    in_the_way(&all, file, asks, kind)
}

/// Returns the locks on this list that have such a waiter.
fn in_the_way(list: &[FileLock], file: LockedFile, asks: i32, kind: LockKind) -> Vec<FileLock> {
    let mut holds = None;
    let mut all = Vec::new();
    for lock in list {
        if !lock.waits {
            holds = Some(lock);
        } else if lock.file == file && lock.pid == asks && lock.kind == kind {
            all.extend(holds.filter(|lock| !all.contains(*lock)).cloned());
        }
    }
    all
}

/// The tasks that have taken locks.
#[derive(Debug, Default)]
pub(in crate::record) struct Takers(BTreeMap<(Identity, LockKind), Taken>);

/// A file's device and inode, as stat(2) reports them.
type Identity = (u64, u64);

#[derive(Debug)]
struct Taken {
    last: TaskId,
    all: BTreeSet<TaskId>,
}

impl Takers {
    fn add(&mut self, file: Identity, kind: LockKind, id: TaskId) {
        let taken = self.0.entry((file, kind)).or_insert_with(|| Taken { last: id, all: BTreeSet::new() });
        taken.last = id;
        taken.all.insert(id);
    }

    /// Returns the task that has taken a lock, if it is certain. The last task to take an exclusive lock on a whole
    /// file has it.
    pub(in crate::record) fn of(&self, file: Identity, lock: &FileLock) -> Option<TaskId> {
        let taken = self.0.get(&(file, lock.kind))?;
        let exclusive = lock.kind == LockKind::Flock && lock.exclusive;
        (exclusive || taken.all.len() == 1).then_some(taken.last)
    }
}

impl Takers {
    /// Notes a call that has taken a lock.
    pub(in crate::record) fn note_taken(&mut self, tasks: &Tasks, id: TaskId, call: &Call) {
        let [fd, what, at, ..] = call.args();
        let what = what as i32;
        let kind = match call.number() as i64 {
            libc::SYS_flock if what & libc::LOCK_UN == 0 => LockKind::Flock,
            libc::SYS_fcntl if matches!(what, libc::F_SETLK | libc::F_SETLKW) => LockKind::Posix,
            libc::SYS_fcntl if matches!(what, libc::F_OFD_SETLK | libc::F_OFD_SETLKW) => LockKind::Ofd,
            _ => return,
        };
        // struct flock begins with the kind of lock, a short.
        let unlocks = |word: u32| i32::from(word as i16) == libc::F_UNLCK;
        if kind != LockKind::Flock && tasks.space(id).memory.u32(at).is_ok_and(unlocks) {
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
        lock: &FileLock,
    ) -> Option<TaskId> {
        let lives = |id: &TaskId| tasks.living().any(|task| task.id == *id);
        self.of(identity(tid, fd)?, lock).filter(lives)
    }
}

fn identity(tid: Pid, fd: u64) -> Option<Identity> {
    let metadata = Fd::argument(tid, fd).metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns what `/proc/locks` calls a descriptor's file.
fn file(fd: Fd) -> Option<LockedFile> {
    let info = fd.info().ok()?;
    Some(LockedFile { device: mounted_device(fd.tid, info.mount()?)?, inode: info.inode()? })
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

    fn locks() -> Vec<FileLock> {
        LOCKS.lines().filter_map(FileLock::parse).collect()
    }

    #[test]
    fn who_has_taken_a_lock_is_said_only_where_it_is_certain() {
        let mut takers = Takers::default();
        let [held, ..] = &locks()[..] else { unreachable!("the list is not empty") };
        let held = |kind, exclusive| FileLock { kind, exclusive, ..held.clone() };
        for id in [1, 2] {
            takers.add((1, 2), LockKind::Flock, TaskId(id));
            takers.add((1, 2), LockKind::Posix, TaskId(2));
        }
        assert_eq!(takers.of((1, 2), &held(LockKind::Flock, true)), Some(TaskId(2)));
        assert_eq!(takers.of((1, 2), &held(LockKind::Flock, false)), None, "either of them");
        assert_eq!(takers.of((1, 2), &held(LockKind::Posix, false)), Some(TaskId(2)));
        assert_eq!(takers.of((1, 3), &held(LockKind::Flock, true)), None);
    }

    #[test]
    fn the_lock_at_the_head_of_a_queue_is_found() {
        let found = |inode, pid, kind| {
            let file = LockedFile { device: (0xfe, 0), inode };
            in_the_way(&locks(), file, pid, kind).into_iter().map(|lock| lock.first).collect::<Vec<_>>()
        };
        assert_eq!(found(58, 6543, LockKind::Flock), [0]);
        assert_eq!(found(58, 6544, LockKind::Flock), [0]);
        assert_eq!(found(59, 9, LockKind::Posix), [10]);
        assert_eq!(found(60, -1, LockKind::Ofd), [0, 7], "any of them may be the one");
        assert_eq!(found(59, 7, LockKind::Posix), [0; 0], "it has its lock");
        assert_eq!(found(58, 9, LockKind::Posix), [0; 0], "another file");
    }

    #[test]
    fn who_has_a_description_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let again = std::fs::File::open(file.path()).unwrap();
        let lock = nix::fcntl::Flock::lock(file.reopen().unwrap(), nix::fcntl::FlockArg::LockExclusive);
        let lock = lock.unwrap();
        let own = Pid::this();
        let [has, other] = [&*lock, &again].map(|file| Fd::of(own, std::os::fd::AsRawFd::as_raw_fd(file)));
        assert_eq!(super::file(has), super::file(other));
        let name = super::file(has).unwrap();
        let lock = file_locks().unwrap().into_iter().find(|lock| lock.file == name).unwrap();
        assert_eq!((lock.kind, lock.exclusive, lock.pid), (LockKind::Flock, true, own.as_raw()));
        assert_eq!(holders(&lock, [own]), [has]);
    }
}
