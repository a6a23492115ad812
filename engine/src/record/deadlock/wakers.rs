//! Who could wake the tasks that wait in the kernel or for descriptors.
//!
//! Only the program can end a wait if all processes that have the other end, or the lock, are recorded, and nothing is
//! in flight ([`crate::record::kernel::peers`]). What can be reached by name belongs to the program alone only if
//! outsiders are assumed to stay away ([`crate::record::outside::reach`]). A process of another user, whose descriptors
//! cannot be inspected, is taken to have none of the program's; the case that the program has passed it one is ignored.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;

use crate::record::kernel::call_in_progress::{is_queue, opened, polled};
use crate::record::kernel::fds::FdKind;
use crate::record::kernel::ipc::{self, Ipc};
use crate::record::kernel::peers::Sockets;
use crate::record::kernel::terminals::{self, Side};
use crate::record::kernel::unix_sockets::UnixSocket;
use crate::record::options::Options;
use crate::record::outside::locks::{self, holders};
use crate::record::outside::reach::Reach;
use crate::record::poller::Poller;
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::tracee::{
    Fd, FdCopies, FdInfo, FileLock, LockKind, Place, call_in_progress, file_at, is_asleep, named_fds,
    processes, shares_ipc, socket_inode,
};

/// Maximum nesting of epoll descriptors (`EP_MAX_NESTS`, fs/eventpoll.c).
pub(in crate::record) const NESTS: u32 = 5;

/// Finds out, for one moment, who could wake the waiting tasks.
pub(in crate::record) struct Wakers<'a> {
    pub(in crate::record) options: &'a Options<'a>,
    pub(in crate::record) tasks: &'a Tasks,
    pub(in crate::record) poller: &'a Poller,
    pub(in crate::record) reach: &'a Reach,
    pub(in crate::record) view: View,
}

impl Wakers<'_> {
    /// Whether no outsider comes by name.
    fn is_left_alone(&self) -> bool {
        self.view.names && self.reach.is_left_alone(self.options)
    }

    /// Whether only the program itself can end the waits.
    pub(in crate::record) fn waits_for_itself(&self) -> bool {
        self.tasks.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => is_asleep(running.tid()) && self.waits_for_the_program(task),
            Hold::Waiting(..) => self.poller.descriptors(task.id).all(|fd| self.ours(task.tid, fd, NESTS)),
            // A terminal may send SIGCONT.
            Hold::Suspended(..) => false,
            _ => true,
        })
    }

    /// Whether only the program itself can end a task's wait in the kernel.
    pub(in crate::record) fn waits_for_the_program(&self, task: &Task) -> bool {
        let Some((number, args)) = call_in_progress(task.tid) else { return false };
        let all_ours = |fds: &[u64]| {
            let is_ours = |fd| has_no_limit(task, fd) && self.never_waits_or_ours(task, fd);
            fds.iter().all(|fd| is_ours(*fd as i32))
        };
        match number {
            libc::SYS_wait4 | libc::SYS_waitid => true,
            libc::SYS_ppoll => {
                let [_, _, limit, ..] = args;
                let mut fds = polled(&task.space.memory, &args).into_iter();
                limit == 0 && fds.all(|fd| self.ours(task.tid, fd, NESTS))
            }
            libc::SYS_write
            | libc::SYS_writev
            | libc::SYS_pwritev2
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg => all_ours(&args[..1]),
            libc::SYS_splice => all_ours(&[args[0], args[2]]),
            libc::SYS_tee | libc::SYS_sendfile => all_ours(&args[..2]),
            libc::SYS_flock | libc::SYS_fcntl => self.lock_is_ours(task, number, &args),
            libc::SYS_open | libc::SYS_creat | libc::SYS_openat => {
                self.opens_own_fifo(task, &opened(number, &args, &task.space.memory))
            }
            libc::SYS_msgsnd | libc::SYS_msgrcv => self.ipc_is_ours(task, Ipc::Queue, args[0]),
            libc::SYS_semop => self.ipc_is_ours(task, Ipc::Semaphores, args[0]),
            libc::SYS_semtimedop => args[3] == 0 && self.ipc_is_ours(task, Ipc::Semaphores, args[0]),
            libc::SYS_mq_timedsend | libc::SYS_mq_timedreceive => {
                args[4] == 0 && self.ours(task.tid, args[0] as i32, NESTS)
            }
            _ => false,
        }
    }

    /// Whether only the program's own tasks can make this descriptor ready.
    pub(in crate::record) fn ours(&self, tid: Pid, fd: i32, nests: u32) -> bool {
        let file = Fd::of(tid, fd);
        let Ok(name) = file.name() else { return false };
        // Of what cannot be read nothing is known.
        let info = |is_ours: &dyn Fn(FdInfo) -> bool| file.info().is_ok_and(is_ours);
        match &*name {
            "anon_inode:[eventfd]" => true,
            "anon_inode:[timerfd]" => info(&|info| info.timer().is_some_and(|timer| timer.left.is_zero())),
            "anon_inode:[pidfd]" => info(&|info| {
                let pid = info.process().map(Pid::from_raw);
                self.tasks.living().any(|task| Some(task.pid) == pid)
            }),
            "anon_inode:inotify" => self.is_left_alone() && info(&|info| self.changes_are_ours(&info)),
            "anon_inode:[eventpoll]" if nests > 0 => {
                info(&|info| info.watched_descriptors().all(|fd| self.ours(tid, fd, nests - 1)))
            }
            pipe if pipe.starts_with("pipe:") => {
                // The recorder has the other ends of the program's standard streams.
                let stdin = Fd::of(Pid::this(), libc::STDIN_FILENO).metadata().ok().map(|stdin| stdin.ino());
                file.metadata().is_ok_and(|pipe| {
                    Some(pipe.ino()) != stdin && !matches!(self.poller.fds.kind_of(&pipe), FdKind::Output(_))
                }) && !self.view.has(pipe)
            }
            socket if socket.starts_with("socket:") => {
                socket_inode(socket).is_some_and(|inode| self.socket_is_ours(tid, inode))
            }
            name if name.starts_with('/') => self.named_is_ours(tid, fd, name),
            _ => false,
        }
    }

    /// Whether a descriptor is a file, which never blocks, or only the program's own tasks can make it ready.
    fn never_waits_or_ours(&self, task: &Task, fd: i32) -> bool {
        let is_file = Fd::of(task.tid, fd).metadata().is_ok_and(|file| file.is_file());
        is_file || self.ours(task.tid, fd, NESTS)
    }

    fn socket_is_ours(&self, tid: Pid, inode: u64) -> bool {
        let alone = |inode: &u64| !self.view.has(&format!("socket:[{inode}]"));
        if let Some(peer) = self.poller.pairs.get(&inode) {
            return alone(peer);
        }
        if let Some(ends) = self.unix_ends(inode) {
            return !ends.is_empty() && ends.iter().all(alone);
        }
        let sockets = self.view.sockets(tid, self.tasks.processes());
        match sockets.other_end(inode) {
            Some(ends) => ends.iter().all(alone),
            None => {
                let chosen = sockets.open_port(inode).is_some_and(|port| self.reach.has_chosen(port));
                chosen && self.is_left_alone() && alone(&inode)
            }
        }
    }

    /// Returns the inodes of the sockets at the other end of a Unix socket; of the socket itself if outsiders would
    /// have to connect to it. Empty if they are not known to be the program's. `None` if it is no Unix socket.
    fn unix_ends(&self, inode: u64) -> Option<Vec<u64>> {
        let socket = UnixSocket::of(inode)?;
        let tree = || self.view.tree(self.tasks.processes());
        Some(match socket.peer {
            // Not accepted yet: the process that listens there will accept it.
            Some(0) => {
                let waits_at = |listener: &&u64| {
                    UnixSocket::of(**listener).is_some_and(|listener| listener.waiting.contains(&inode))
                };
                tree().iter().filter(waits_at).copied().collect()
            }
            Some(peer) if tree().contains(&peer) => vec![peer],
            Some(_) => Vec::new(),
            None => {
                let bound = socket.name.is_some_and(|name| self.reach.has_bound(&bytes_of(&name)));
                if bound && self.is_left_alone() { vec![inode] } else { Vec::new() }
            }
        })
    }

    /// Whether something with a path (a FIFO, a terminal, a POSIX message queue) is the program's alone.
    fn named_is_ours(&self, tid: Pid, fd: i32, name: &str) -> bool {
        let file = Fd::of(tid, fd);
        let Ok(metadata) = file.metadata() else { return false };
        if metadata.file_type().is_char_device() {
            return self.terminal_is_ours(tid, fd, name);
        }
        let queue = is_queue(&file.path());
        if !queue && !metadata.file_type().is_fifo() {
            return false;
        }
        // A file without a name is out of reach.
        let made = metadata.nlink() == 0
            || self.is_left_alone()
                && (self.reach.has_made(&metadata) || queue && self.reach.has_opened(&metadata));
        made && !self.view.has_file(&metadata)
    }

    /// Whether only the program has the other side of a pseudo-terminal. Outsiders could open the slave by its name.
    fn terminal_is_ours(&self, tid: Pid, fd: i32, name: &str) -> bool {
        let Some(pid) = self.tasks.with_tid(tid).map(|task| task.pid) else { return false };
        let Some(side) = Side::of(pid, fd, name) else { return false };
        let Some(other) = self.tasks.processes().into_iter().find_map(|pid| side.other(pid)) else {
            return false;
        };
        let (certain, sides) = match side {
            // What the slave gets may come back to the master as an echo.
            Side::Master(_) => (self.is_left_alone(), [other, (pid, fd)]),
            Side::Slave(_) => (terminals::waits_for_ever(pid, fd), [(pid, fd), other]),
        };
        certain
            && !self.view.outside.iter().any(|pid| side.other(*pid).is_some())
            && sides.into_iter().all(|(pid, fd)| terminals::is_flushed(pid, fd))
    }

    /// Whether the program has made the FIFO that a task waits to open, and nobody else has it.
    fn opens_own_fifo(&self, task: &Task, (directory, path): &(Place, String)) -> bool {
        let fifo = file_at(task.tid, *directory, path).ok().filter(|file| file.file_type().is_fifo());
        fifo.is_some_and(|fifo| {
            self.is_left_alone() && self.reach.has_made(&fifo) && !self.view.has_file(&fifo)
        })
    }

    fn ipc_is_ours(&self, task: &Task, kind: Ipc, id: u64) -> bool {
        let id = id as i32;
        self.is_left_alone()
            && self.reach.made.contains(&(kind, id))
            && shares_ipc(task.tid)
            && ipc::is_unknown_to(kind, id, &self.view.outside)
    }

    /// Whether the program has made everything that an inotify(7) descriptor watches, and nobody else has it open.
    fn changes_are_ours(&self, info: &FdInfo) -> bool {
        info.watched_inodes().all(|inode| match self.reach.watched.get(&inode) {
            Some((device, true)) => !self.view.has_inode(*device, inode),
            _ => false,
        })
    }

    /// Whether only the program has the lock that a task waits for.
    fn lock_is_ours(&self, task: &Task, number: i64, args: &[u64; 6]) -> bool {
        let Some(kind) = locks::kind(number, args) else { return false };
        let found = locks::waited_for(task.tid, task.pid, args[0], kind);
        !found.is_empty() && found.iter().all(|lock| self.has_lock(lock))
    }

    fn has_lock(&self, lock: &FileLock) -> bool {
        let processes = self.tasks.processes();
        if lock.kind == LockKind::Posix {
            return processes.contains(&Pid::from_raw(lock.pid));
        }
        !holders(lock, processes).is_empty() && holders(lock, self.view.outside.iter().copied()).is_empty()
    }

    /// Whether nothing but time can end the wait of any waiting task.
    pub(in crate::record) fn only_time_helps(&self) -> bool {
        self.tasks.living().all(|task| match task.hold() {
            Hold::InKernel(running, _) => {
                is_asleep(running.tid()) && (self.waits_for_the_program(task) || waits_for_signals(task))
            }
            Hold::Waiting(..) => {
                let mut descriptors = self.poller.descriptors(task.id);
                descriptors.all(|fd| self.inside(task, fd, NESTS))
            }
            // A terminal may send SIGCONT.
            Hold::Suspended(..) => false,
            _ => true,
        })
    }

    /// Whether only the program itself, or time, can make this descriptor ready.
    fn inside(&self, task: &Task, fd: i32, nests: u32) -> bool {
        let file = Fd::of(task.tid, fd);
        let Ok(name) = file.name() else { return false };
        match &*name {
            "anon_inode:[timerfd]" | "anon_inode:[pidfd]" | "anon_inode:[signalfd]" => true,
            "anon_inode:[eventpoll]" => {
                nests > 0
                    && file.info().is_ok_and(|info| {
                        info.watched_descriptors().all(|fd| self.inside(task, fd, nests - 1))
                    })
            }
            name => {
                self.ours(task.tid, fd, nests)
                    || socket_inode(name).is_some_and(|inode| {
                        self.view.sockets(task.tid, self.tasks.processes()).inside(inode)
                    })
            }
        }
    }
}

/// Whether a task waits for a signal without a time limit. The recorder itself sends the signals of the program's
/// timers.
fn waits_for_signals(task: &Task) -> bool {
    match call_in_progress(task.tid) {
        Some((libc::SYS_pause | libc::SYS_rt_sigsuspend, _)) => true,
        Some((libc::SYS_rt_sigtimedwait, args)) => args[2] == 0,
        _ => false,
    }
}

/// A snapshot of which processes have what.
#[derive(Debug, Default)]
pub(in crate::record) struct View {
    /// Whether outsiders may be assumed not to come by name, where the options allow that
    /// ([`crate::record::outside::reach`]).
    names: bool,
    /// The processes that are neither recorded nor the recorder. Empty if they are disregarded.
    outside: BTreeSet<Pid>,
    /// The [names](Fd::name) of their pipes and sockets. They may have one for a moment only: a child that the recorder
    /// has just forked for another recording has everything that the recorder had.
    theirs: BTreeSet<String>,
    sockets: OnceCell<Sockets>,
    tree: OnceCell<BTreeSet<u64>>,
}

impl View {
    /// A view that disregards all other processes.
    pub(in crate::record) fn within() -> Self {
        Self { names: true, ..Self::default() }
    }

    /// A view of all processes except these and the recorder.
    pub(in crate::record) fn beyond(mut own: BTreeSet<Pid>) -> Self {
        own.insert(Pid::this());
        let outside: BTreeSet<Pid> = processes().filter(|pid| !own.contains(pid)).collect();
        let theirs = outside.iter().flat_map(|pid| named_fds(*pid)).map(|(_, name)| name);
        let theirs = theirs.filter(|name| name.starts_with("pipe:") || name.starts_with("socket:")).collect();
        Self { names: true, outside, theirs, ..Self::default() }
    }

    /// Whether an outsider has the pipe or socket of this name.
    fn has(&self, name: &str) -> bool {
        self.theirs.contains(name)
    }

    /// Whether an outsider has this file open.
    fn has_file(&self, file: &Metadata) -> bool {
        self.has_inode(file.dev(), file.ino())
    }

    fn has_inode(&self, device: u64, inode: u64) -> bool {
        let all = self.outside.iter().flat_map(|pid| named_fds(*pid));
        all.filter(|(_, name)| name.starts_with('/'))
            .filter_map(|(fd, _)| fd.metadata().ok())
            .any(|file| (file.dev(), file.ino()) == (device, inode))
    }

    /// Returns the sockets of a task's network namespace.
    pub(in crate::record) fn sockets(&self, tid: Pid, processes: BTreeSet<Pid>) -> &Sockets {
        self.sockets.get_or_init(|| Sockets::of(tid, processes))
    }

    /// Returns the inodes of the sockets that these processes have.
    fn tree(&self, processes: BTreeSet<Pid>) -> &BTreeSet<u64> {
        self.tree.get_or_init(|| {
            let all = processes.into_iter().flat_map(named_fds);
            all.filter_map(|(_, name)| socket_inode(&name)).collect()
        })
    }
}

/// Converts the printed form of a name to the bytes of `sun_path`.
fn bytes_of(name: &str) -> Vec<u8> {
    match name.strip_prefix('@') {
        Some(name) => [b"\0", name.as_bytes()].concat(),
        None => name.as_bytes().to_vec(),
    }
}

/// Whether calls on a descriptor have no timeout (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`).
fn has_no_limit(task: &Task, fd: i32) -> bool {
    let Some(copy) = FdCopies::default().of(task.pid, fd) else { return false };
    let limits = [getsockopt(&copy, sockopt::ReceiveTimeout), getsockopt(&copy, sockopt::SendTimeout)];
    limits.into_iter().all(|limit: nix::Result<TimeVal>| match limit {
        Ok(limit) => (limit.tv_sec(), limit.tv_usec()) == (0, 0),
        Err(errno) => errno == Errno::ENOTSOCK,
    })
}
