//! What the program shares with others by name, according to the calls that stop.
//!
//! Calls that only look at something mostly do not stop (`rrtest_preload::calls`): they count only if all calls stop.
//!
//! A directory that the program has made stands for everything in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::reach::{Reach, has_datagrams};
use crate::claims::{ClaimKind, Claims, Thing, Use, plain};
use crate::record::kernel::call_in_progress::PATH;
use crate::record::options::Options;
use crate::record::poller::Poller;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{self, Address, Role};
use crate::task::TaskId;
use crate::tracee::{Fd, Place};

/// Directories that contain views of the kernel, and devices, instead of files.
const VIEWS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// File systems below those whose files are ordinary.
pub(in crate::record) const FILES: [&str; 1] = ["/dev/shm"];

/// What the program has claimed.
#[derive(Debug, Default)]
pub(in crate::record) struct Claimed {
    pub(in crate::record) claims: Claims,
    /// Directories that it has made.
    made: BTreeSet<PathBuf>,
}

impl Claimed {
    fn path(&mut self, path: PathBuf, how: Use) {
        let view = VIEWS.iter().any(|view| path.starts_with(view));
        let file = FILES.iter().any(|files| path.starts_with(files));
        let own = !self.made.is_empty() && path.ancestors().any(|above| self.made.contains(above));
        if !own && (file || !view) {
            self.claims.add(Thing::Path(path), how);
        }
    }

    fn directory(&mut self, path: PathBuf) {
        if path.symlink_metadata().is_ok() {
            return self.path(path, Use::Looks);
        }
        self.path(path.clone(), Use::Changes);
        self.made.insert(path);
    }
}

impl Claimed {
    /// Adds the claims of a call that a task is about to make.
    pub(in crate::record) fn claim(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        poller: &mut Poller,
        reach: &Reach,
        id: TaskId,
        call: &Call,
    ) {
        let args = call.args();
        let number = call.number() as i64;
        match number {
            libc::SYS_open => self.claim_opened(options, tasks, id, None, args[0], args[1]),
            libc::SYS_openat => self.claim_opened(options, tasks, id, Some(args[0]), args[1], args[2]),
            libc::SYS_openat2 => {
                // struct open_how begins with the flags.
                let flags = tasks.space(id).memory.u64(args[2]).unwrap_or(0);
                self.claim_opened(options, tasks, id, Some(args[0]), args[1], flags);
            }
            libc::SYS_mkdir => self.claim_directory(tasks, id, None, args[0]),
            libc::SYS_mkdirat => self.claim_directory(tasks, id, Some(args[0]), args[1]),
            libc::SYS_flock | libc::SYS_fcntl => self.claim_locked(tasks, id, number, &args),
            libc::SYS_bind => {
                self.claim_address(tasks, poller, reach, id, [args[0], args[1], args[2]], Use::Changes)
            }
            libc::SYS_connect => {
                self.claim_address(tasks, poller, reach, id, [args[0], args[1], args[2]], Use::Looks)
            }
            libc::SYS_shmget => self.claim_key(ClaimKind::Memory, args[0]),
            libc::SYS_msgget => self.claim_key(ClaimKind::Messages, args[0]),
            libc::SYS_semget => self.claim_key(ClaimKind::Semaphores, args[0]),
            libc::SYS_mq_open | libc::SYS_mq_unlink => {
                let name = tasks.space(id).memory.text(args[0], PATH);
                self.claims.add(Thing::Queue(name), Use::Changes);
            }
            _ => {
                self.claim_paths(tasks, id, Role::Changes, call, Use::Changes);
                if options.calls_stop {
                    self.claim_paths(tasks, id, Role::LooksAt, call, Use::Looks);
                }
            }
        }
    }

    fn claim_paths(&mut self, tasks: &Tasks, id: TaskId, role: Role, call: &Call, how: Use) {
        let args = call.args();
        for taken in syscalls::paths(call.number()).filter(|taken| taken.role == role) {
            if let Some(path) = tasks.path(id, taken.directory.map(|at| args[at]), args[taken.at]) {
                self.path(path, how);
            }
        }
    }

    fn claim_opened(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        id: TaskId,
        directory: Option<u64>,
        path: u64,
        flags: u64,
    ) {
        let flags = flags as i32;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_CREAT != 0;
        let named = flags & libc::O_TMPFILE != libc::O_TMPFILE && flags & libc::O_PATH == 0;
        if named
            && (writes || options.calls_stop)
            && let Some(path) = tasks.path(id, directory, path)
        {
            self.path(path, if writes { Use::Changes } else { Use::Looks });
        }
    }

    fn claim_directory(&mut self, tasks: &Tasks, id: TaskId, directory: Option<u64>, path: u64) {
        if let Some(path) = tasks.path(id, directory, path) {
            self.directory(path);
        }
    }

    fn claim_locked(&mut self, tasks: &Tasks, id: TaskId, number: i64, args: &[u64; 6]) {
        const LOCKS: [i32; 4] = [libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_SETLK, libc::F_OFD_SETLKW];
        let [fd, what, at, ..] = *args;
        // struct flock begins with the kind of lock, a short.
        let kind = || tasks.space(id).memory.u32(at).map_or(libc::F_UNLCK, |word| i32::from(word as i16));
        let how = match (number, what as i32 & !libc::LOCK_NB) {
            (libc::SYS_flock, libc::LOCK_SH) => Use::Looks,
            (libc::SYS_flock, libc::LOCK_EX) => Use::Changes,
            (libc::SYS_fcntl, _) if LOCKS.contains(&(what as i32)) => match kind() {
                libc::F_RDLCK => Use::Looks,
                libc::F_WRLCK => Use::Changes,
                _ => return,
            },
            _ => return,
        };
        let file = Fd::argument(tasks[id].tid, fd);
        // A file without a name is nobody else's.
        let path = file.link().ok().filter(|_| file.metadata().is_ok_and(|file| is_named(&file)));
        if let Some(path) = path {
            self.path(path, how);
        }
    }

    fn claim_address(
        &mut self,
        tasks: &Tasks,
        poller: &mut Poller,
        reach: &Reach,
        id: TaskId,
        [fd, at, len]: [u64; 3],
        how: Use,
    ) {
        let fd = fd as i32;
        let thing = match tasks.address(id, at, len) {
            Address::Port(address) if address.port() == 0 || reach.has_chosen(address.port()) => return,
            Address::Port(address) if how == Use::Looks && !address.ip().is_loopback() => return,
            Address::Port(address) => {
                let pid = tasks[id].pid;
                let datagrams = poller.copy(pid, fd).is_some_and(|copy| has_datagrams(&copy));
                if datagrams { Thing::Udp(address.port()) } else { Thing::Tcp(address.port()) }
            }
            Address::Name(name) => match name.split_first() {
                None => return,
                Some((0, name)) => Thing::Socket(name.to_vec()),
                Some(_) => {
                    let path = String::from_utf8_lossy(&name).into_owned();
                    let Some(path) = tasks.resolved(id, None, &path) else { return };
                    return self.path(path, how);
                }
            },
            Address::Kernel | Address::Other => return,
        };
        self.claims.add(thing, how);
    }

    fn claim_key(&mut self, kind: ClaimKind, key: u64) {
        let key = key as i32;
        if key != libc::IPC_PRIVATE {
            self.claims.add(Thing::Key(kind, key), Use::Changes);
        }
    }
}

impl Tasks {
    /// Reads a path in a task's memory, relative to `directory`.
    fn path(&self, id: TaskId, directory: Option<u64>, path: u64) -> Option<PathBuf> {
        let path = self.space(id).memory.text(path, PATH);
        self.resolved(id, directory, &path)
    }

    fn resolved(&self, id: TaskId, directory: Option<u64>, path: &str) -> Option<PathBuf> {
        if path.is_empty() {
            return None;
        }
        let path = Path::new(path);
        if path.is_absolute() {
            return Some(plain(path));
        }
        let from = directory.map_or(Place::WorkingDirectory, |fd| Place::of_directory(fd as i32));
        let from = from.link(self[id].tid).ok()?;
        Some(plain(&from.join(path)))
    }
}

/// Whether a file has a name, so that it may be somebody else's.
fn is_named(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.nlink() > 0 && (file.is_file() || file.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_directory_of_its_own_is_no_claim_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let made = home.path().join("made");
        let mut claimed = Claimed::default();
        claimed.directory(made.clone());
        claimed.path(made.join("file"), Use::Changes);
        claimed.directory(home.path().to_owned());
        claimed.path(home.path().join("file"), Use::Changes);
        let all: Vec<_> = claimed.claims.iter().collect();
        let path = |path: &Path| Thing::Path(path.to_owned());
        assert_eq!(
            all,
            [
                (&path(home.path()), Use::Looks),
                (&path(&home.path().join("file")), Use::Changes),
                (&path(&made), Use::Changes)
            ]
        );
    }

    #[test]
    fn devices_and_views_of_the_kernel_are_no_files() {
        let mut claimed = Claimed::default();
        for path in ["/dev/null", "/proc/self/comm", "/sys/a", "/dev/shm/a", "/device"] {
            claimed.path(path.into(), Use::Changes);
        }
        let all: Vec<_> = claimed.claims.iter().map(|(thing, _)| thing.to_string()).collect();
        assert_eq!(all, ["/dev/shm/a", "/device"]);
    }
}
