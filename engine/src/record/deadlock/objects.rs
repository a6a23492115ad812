//! Names what a task waits for in the kernel, and finds who has the other end.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;

use super::report::Observer;
use super::waits::Blocked;
use super::wakers::View;
use crate::ending::Awaited;
use crate::record::kernel::call_in_progress::{is_queue, opened, polled};
use crate::record::kernel::peers::Name;
use crate::record::kernel::terminals::Side;
use crate::record::kernel::unix_sockets::UnixSocket;
use crate::record::outside::locks;
use crate::record::tree::call::Call;
use crate::record::tree::task::{Hold, Task};
use crate::record::tree::tasks::Tasks;
use crate::syscalls::{Block, describe};
use crate::task::TaskId;
use crate::tracee::{Fd, LockKind, belonging, call_in_progress, named_fds, socket_inode};

impl Observer<'_> {
    pub(super) fn wait_in_kernel_of(&self, task: &Task, tid: Pid, call: &Call) -> Blocked {
        let Some((number, args)) = call_in_progress(tid) else { return Blocked::new(Awaited::Descriptors) };
        let queue = |what: &str, id: u64| Blocked {
            what: Some(format!("{what} the System V message queue {}", id as i32)),
            ..Blocked::new(Awaited::Queue)
        };
        match number {
            libc::SYS_wait4 | libc::SYS_waitid => {
                Blocked { by: self.tasks.children(task.pid), ..Blocked::new(Awaited::Child) }
            }
            libc::SYS_ppoll => self.wait_for_descriptors_of(task, call, &polled(&task.space.memory, &args)),
            libc::SYS_flock | libc::SYS_fcntl => self.wait_for_lock_of(task, number, &args),
            libc::SYS_open | libc::SYS_creat | libc::SYS_openat => {
                let (_, path) = opened(number, &args, &task.space.memory);
                Blocked { what: Some(format!("the other end of {path}")), ..Blocked::new(Awaited::Pipe) }
            }
            libc::SYS_msgrcv => queue("a message in", args[0]),
            libc::SYS_msgsnd => queue("room in", args[0]),
            libc::SYS_semop | libc::SYS_semtimedop => Blocked {
                what: Some(format!("System V semaphores {}", args[0] as i32)),
                ..Blocked::new(Awaited::Semaphore)
            },
            _ => self.wait_for_descriptors_of(task, call, &[args[0] as i32]),
        }
    }

    fn wait_for_lock_of(&self, task: &Task, number: i64, args: &[u64; 6]) -> Blocked {
        let found = Blocked::new(Awaited::FileLock);
        let Some(kind) = locks::kind(number, args) else { return Blocked::new(Awaited::Descriptors) };
        let path = name(Fd::argument(task.tid, args[0]));
        let call = if kind == LockKind::Flock { "flock" } else { "fcntl" };
        let what = Some(format!("a lock ({call}) on {path}"));
        let found_locks = locks::waited_for(task.tid, task.pid, args[0], kind);
        let [lock] = &found_locks[..] else { return Blocked { what, ..found } };
        let by = self.takers.taker_of(self.tasks, task.tid, args[0], lock).filter(|by| *by != task.id);
        Blocked { what, by: by.into_iter().collect(), ..found }
    }
}

impl Tasks {
    /// Returns the first tasks of a process's children.
    fn children(&self, pid: Pid) -> Vec<TaskId> {
        let mut seen = BTreeSet::new();
        let others = self.living().filter(|other| other.pid != pid && seen.insert(other.pid));
        others
            .filter(|other| belonging(other.pid).is_some_and(|it| it.parent == pid))
            .map(|other| other.id)
            .collect()
    }

    /// Returns the other tasks that have the other end of a pipe.
    fn opposite(&self, task: &Task, fd: i32, link: &str) -> Vec<TaskId> {
        let own = access(Fd::of(task.tid, fd));
        self.holders_of(task, |fd, its| {
            its == link && access(fd).is_some_and(|mode| own.is_none_or(|own| own != mode))
        })
    }

    /// Returns the other tasks that have the other side of a terminal; `None` if it is no terminal.
    fn other_side(&self, task: &Task, fd: i32, link: &str) -> Option<Vec<TaskId>> {
        let side = Side::of(task.pid, fd, link)?;
        let faces =
            |fd: Fd, link: &str| Side::of(fd.tid, fd.number, link).is_some_and(|other| side.faces(&other));
        Some(self.holders_of(task, faces))
    }

    /// Returns the other tasks in whose processes some descriptor fulfils `is`.
    fn holders_of(&self, task: &Task, is: impl Fn(Fd, &str) -> bool) -> Vec<TaskId> {
        let mut holding = BTreeMap::new();
        let mut holds = |other: &Task| {
            *holding.entry(other.pid).or_insert_with(|| named_fds(other.tid).any(|(fd, name)| is(fd, &name)))
        };
        self.living().filter(|other| other.id != task.id && holds(other)).map(|other| other.id).collect()
    }
}

impl Observer<'_> {
    pub(super) fn wait_for_descriptors_of(&self, task: &Task, call: &Call, fds: &[i32]) -> Blocked {
        let [fd] = fds[..] else { return Blocked::new(Awaited::Descriptors) };
        let link = name(Fd::of(task.tid, fd));
        if link.starts_with("pipe:") {
            return Blocked { by: self.tasks.opposite(task, fd, &link), ..Blocked::new(Awaited::Pipe) };
        }
        if let Some(inode) = socket_inode(&link) {
            return self.wait_for_socket_of(task, call, inode);
        }
        let what = |what: String| Some(format!("{} {what}", wanted(call)));
        if link == "anon_inode:inotify" {
            let what = Some("a change of a file that is watched".to_owned());
            return Blocked { what, ..Blocked::new(Awaited::Change) };
        }
        if is_queue(&Fd::of(task.tid, fd).path()) {
            return Blocked {
                what: what(format!("the message queue {link}")),
                ..Blocked::new(Awaited::Queue)
            };
        }
        if let Some(by) = self.tasks.other_side(task, fd, &link) {
            return Blocked {
                what: what(format!("the terminal {link}")),
                by,
                ..Blocked::new(Awaited::Terminal)
            };
        }
        if link.starts_with('/') {
            let by = self.tasks.opposite(task, fd, &link);
            return Blocked { what: what(format!("the FIFO {link}")), by, ..Blocked::new(Awaited::Pipe) };
        }
        Blocked::new(Awaited::Descriptors)
    }

    fn wait_for_socket_of(&self, task: &Task, call: &Call, inode: u64) -> Blocked {
        if let Some(peer) = self.poller.pairs.get(&inode) {
            return Blocked { by: self.at_sockets(task, &[*peer]), ..Blocked::new(Awaited::Socket) };
        }
        if let Some(socket) = UnixSocket::of(inode) {
            let peer = socket.peer.unwrap_or(0);
            let of_peer = || UnixSocket::of(peer).and_then(|peer| peer.name);
            let name = socket.name.or_else(of_peer);
            let on = if socket.listens { Awaited::Connection } else { Awaited::Socket };
            let wanted = if socket.listens { "a connection to" } else { wanted(call) };
            let what = name.map(|name| format!("{wanted} the Unix socket {name}"));
            return Blocked { what, by: self.at_sockets(task, &[peer]), ..Blocked::new(on) };
        }
        let view = View::default();
        let sockets = view.sockets(task.tid, self.tasks.processes());
        let (on, what) = match sockets.name(inode) {
            None => (Awaited::Socket, None),
            Some(Name { protocol: "TCP", local, remote: None }) => {
                (Awaited::Connection, Some(format!("a connection to {local}")))
            }
            Some(Name { protocol, local, remote: None }) => {
                (Awaited::Socket, Some(format!("{} the {protocol} socket {local}", wanted(call))))
            }
            Some(Name { protocol, local, remote: Some(remote) }) => {
                let what = format!("{} the {protocol} connection {local} → {remote}", wanted(call));
                (Awaited::Socket, Some(what))
            }
        };
        Blocked { what, by: self.at_sockets(task, &sockets.ends_of(inode)), ..Blocked::new(on) }
    }

    /// Returns the other tasks that wait at one of these sockets, as they are the ones that use it; if there are none,
    /// those that have it open.
    fn at_sockets(&self, task: &Task, inodes: &[u64]) -> Vec<TaskId> {
        let is_one = |name: &str| socket_inode(name).is_some_and(|inode| inodes.contains(&inode));
        let waits_there = |other: &&Task| {
            let of = |number: i32| Fd::of(other.tid, number);
            self.waits_at(other).into_iter().map(of).any(|fd| {
                let watched: Vec<i32> =
                    fd.info().map(|info| info.watched_descriptors().collect()).unwrap_or_default();
                is_one(&name(fd)) || watched.into_iter().any(|fd| is_one(&name(of(fd))))
            })
        };
        let others = self.tasks.living().filter(|other| other.id != task.id);
        let waiting: Vec<TaskId> = others.filter(waits_there).map(|other| other.id).collect();
        if waiting.is_empty() { self.tasks.holders_of(task, |_, name| is_one(name)) } else { waiting }
    }

    /// Returns the descriptors that a task waits for.
    fn waits_at(&self, task: &Task) -> Vec<i32> {
        match task.hold() {
            Hold::Waiting(..) => self.poller.descriptors(task.id).collect(),
            Hold::InKernel(running, _) => match call_in_progress(running.tid()) {
                Some((libc::SYS_ppoll, args)) => polled(&task.space.memory, &args),
                Some((_, args)) => vec![args[0] as i32],
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }
}

/// Says what a call waits for on its object.
fn wanted(call: &Call) -> &'static str {
    match describe(call.number()).map(|description| description.block) {
        Some(Block::Readable(_)) => "data on",
        Some(Block::Writable(_)) => "room on",
        _ if matches!(call.number() as i64, libc::SYS_mq_timedreceive) => "a message in",
        _ if matches!(call.number() as i64, libc::SYS_mq_timedsend) => "room in",
        _ => "something on",
    }
}

/// Returns a descriptor's [name](Fd::name); an empty one if it is not known.
fn name(fd: Fd) -> String {
    fd.name().unwrap_or_default()
}

/// Returns a descriptor's access mode: `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
fn access(fd: Fd) -> Option<i32> {
    Some(fd.info().ok()?.flags()? & libc::O_ACCMODE)
}
