//! What processes outside the recorded tree could reach by name.
//!
//! Anybody who knows its name can use a port, the path of a socket or FIFO, the key of a queue. Nobody can rule out
//! that an outsider does ([`Outsiders::MayCome`]). For a test it may be assumed ([`Outsiders::StayAway`]) that nobody
//! looks for what it has made itself and told nobody about: a port on a loopback address that the kernel has chosen, or
//! something that it has made under a name since it began. Once the program has been in touch with an outsider, nothing
//! is assumed any more: it might have told the name. Contacts over sockets are noticed; names in files are assumed not
//! to be read by outsiders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::sys::socket::{SockType, SockaddrStorage, getpeername, getsockname, getsockopt, sockopt};

use crate::record::kernel::call_in_progress::PATH;
use crate::record::kernel::ipc::Ipc;
use crate::record::options::{Options, Outsiders};
use crate::record::poller::Poller;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::Address;
use crate::task::TaskId;
use crate::tracee::{Fd, Place, file_at};

/// What the program has made, and whether it has been in touch with outsiders.
#[derive(Debug, Default)]
pub(in crate::record) struct Reach {
    /// Files that it has made, by device and inode. Their times would not do: file systems use the clock's last tick.
    files: BTreeSet<(u64, u64)>,
    /// Whether it has been in touch with an outsider.
    met: bool,
    /// Addresses to which the program or the kernel has bound its sockets, and whether the kernel chose the port.
    ports: BTreeMap<Port, bool>,
    /// Addresses of its Unix sockets, as bytes of `sun_path`.
    names: BTreeSet<Vec<u8>>,
    /// System V queues and semaphores that it has made.
    pub(in crate::record) made: BTreeSet<(Ipc, i32)>,
    /// Inodes of POSIX message queues that it has made.
    queues: BTreeSet<u64>,
    /// Inodes that it watches by inotify(7), with their devices, and whether it has made them.
    pub(in crate::record) watched: BTreeMap<u64, (u64, bool)>,
}

impl Reach {
    /// Whether it has been in touch with an outsider, as far as that was to be noted.
    pub(in crate::record) fn has_met(&self) -> bool {
        self.met
    }

    /// Whether the program has made this file.
    pub(in crate::record) fn has_made(&self, metadata: &Metadata) -> bool {
        self.files.contains(&(metadata.dev(), metadata.ino()))
    }

    /// Whether the kernel has chosen a port of the program's.
    pub(in crate::record) fn has_chosen(&self, port: u16) -> bool {
        let mut all = self.ports.iter().filter(|(bound, _)| bound.address.port() == port).peekable();
        all.peek().is_some() && all.all(|(_, chosen)| *chosen)
    }

    /// Whether the program has bound a Unix socket to this name.
    pub(in crate::record) fn has_bound(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }

    /// Whether the program has made a POSIX message queue.
    pub(in crate::record) fn has_opened(&self, queue: &Metadata) -> bool {
        self.queues.contains(&queue.ino())
    }

    /// Whether an address that the program talks to is one of its own.
    fn is_own(&self, address: &Address, datagrams: bool) -> bool {
        match address {
            Address::Kernel => true,
            Address::Port(address) => {
                let any: IpAddr = match address.ip() {
                    IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                // A socket bound to any IPv6 address may receive what is sent to IPv4 addresses.
                let at = [address.ip(), any, Ipv6Addr::UNSPECIFIED.into()];
                let bound =
                    |ip| self.ports.contains_key(&Port { datagrams, address: (ip, address.port()).into() });
                address.ip().is_loopback() && at.into_iter().any(bound)
            }
            // A relative path may belong to somebody else.
            Address::Name(name) => matches!(name.first(), Some(0 | b'/')) && self.names.contains(name),
            Address::Other => false,
        }
    }
}

/// An address to which a socket is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    datagrams: bool,
    address: SocketAddr,
}

impl Reach {
    /// Whether outsiders leave alone what the program has made under a name.
    pub(in crate::record) fn is_left_alone(&self, options: &Options<'_>) -> bool {
        options.outsiders == Outsiders::StayAway && !self.met
    }

    /// Notes a call that makes something with a name, or may be in touch with an outsider.
    pub(in crate::record) fn note_contact(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
        result: i64,
    ) {
        if !self.is_left_alone(options) {
            return;
        }
        let args = call.args();
        match call.number() as i64 {
            libc::SYS_bind => {
                let address = tasks.address(id, args[1], args[2]);
                self.note_bound(tasks, poller, id, args[0] as i32, address);
            }
            libc::SYS_connect => {
                self.note_connected(tasks, poller, id, args[0] as i32, args[1], args[2]);
                self.note_bound(tasks, poller, id, args[0] as i32, Address::Kernel);
            }
            libc::SYS_sendto => self.note_sent(tasks, id, args[4], args[5]),
            libc::SYS_sendmsg => self.note_message(tasks, id, args[1]),
            libc::SYS_sendmmsg => {
                /// Bytes of a struct mmsghdr.
                const MESSAGE: u64 = 64;
                for at in 0..result.cast_unsigned() {
                    self.note_message(tasks, id, args[1] + at * MESSAGE);
                }
            }
            libc::SYS_accept | libc::SYS_accept4 => self.note_accepted(tasks, poller, id, result as i32),
            libc::SYS_msgget => self.note_made(Ipc::Queue, args[0], args[1], result),
            libc::SYS_semget => self.note_made(Ipc::Semaphores, args[0], args[2], result),
            libc::SYS_mq_open => self.note_queue(tasks, id, args[1], result as i32),
            libc::SYS_inotify_add_watch => self.note_watched(tasks, id, args[1]),
            libc::SYS_mkdir | libc::SYS_mknod => self.note_file(tasks, id, libc::AT_FDCWD, args[0]),
            libc::SYS_mkdirat | libc::SYS_mknodat => self.note_file(tasks, id, args[0] as i32, args[1]),
            _ => {}
        }
    }

    /// Notes that a socket has been bound, to an address that the program gives or the kernel chooses.
    fn note_bound(&mut self, tasks: &Tasks, poller: &mut Poller, id: TaskId, fd: i32, given: Address) {
        if let Address::Name(name) = given {
            self.names.insert(name);
            return;
        }
        let pid = tasks[id].pid;
        let Some(copy) = poller.copy(pid, fd) else { return };
        let name = getsockname::<SockaddrStorage>(copy.as_raw_fd()).ok();
        let Some(address) = name.as_ref().and_then(socket_address) else { return };
        let chosen = !matches!(&given, Address::Port(given) if given.port() != 0);
        let bound = Port { datagrams: has_datagrams(&copy), address };
        // If it connects now, it may have been bound before.
        let known = self.ports.entry(bound).or_insert(chosen);
        *known &= chosen || given == Address::Kernel;
    }

    /// Notes that the program has connected a socket.
    fn note_connected(&mut self, tasks: &Tasks, poller: &mut Poller, id: TaskId, fd: i32, at: u64, len: u64) {
        let address = tasks.address(id, at, len);
        let pid = tasks[id].pid;
        let copy = poller.copy(pid, fd);
        let own = copy.is_some_and(|copy| match address {
            Address::Name(_) => tasks.has_as_peer(&copy) || self.is_own(&address, true),
            _ => self.is_own(&address, has_datagrams(&copy)),
        });
        self.met |= !own;
    }

    /// Notes that the program has sent a datagram. A null address stands for that of a connected socket.
    fn note_sent(&mut self, tasks: &Tasks, id: TaskId, at: u64, len: u64) {
        if at != 0 && len != 0 {
            let address = tasks.address(id, at, len);
            self.met |= !self.is_own(&address, true);
        }
    }

    /// Notes that the program has sent what a `struct msghdr` describes, which begins with the address and its length.
    fn note_message(&mut self, tasks: &Tasks, id: TaskId, at: u64) {
        let memory = &tasks.space(id).memory;
        if let (Ok(address), Ok(len)) = (memory.u64(at), memory.u32(at + 8)) {
            self.note_sent(tasks, id, address, len.into());
        }
    }

    fn note_accepted(&mut self, tasks: &Tasks, poller: &mut Poller, id: TaskId, fd: i32) {
        let pid = tasks[id].pid;
        let own = poller.copy(pid, fd).is_some_and(|copy| {
            let name = getpeername::<SockaddrStorage>(copy.as_raw_fd());
            match name.as_ref().ok().and_then(socket_address) {
                Some(address) => self.is_own(&Address::Port(address), false),
                None => tasks.has_as_peer(&copy),
            }
        });
        self.met |= !own;
    }

    fn note_made(&mut self, kind: Ipc, key: u64, flags: u64, result: i64) {
        if key as i32 == libc::IPC_PRIVATE || has_all(flags, libc::IPC_CREAT | libc::IPC_EXCL) {
            self.made.insert((kind, result as i32));
        }
    }

    fn note_queue(&mut self, tasks: &Tasks, id: TaskId, flags: u64, fd: i32) {
        if has_all(flags, libc::O_CREAT | libc::O_EXCL)
            && let Ok(queue) = Fd::of(tasks[id].tid, fd).metadata()
        {
            self.queues.insert(queue.ino());
        }
    }

    /// Notes that the program has made a file that is not regular at this path, relative to `directory`.
    fn note_file(&mut self, tasks: &Tasks, id: TaskId, directory: i32, path: u64) {
        if let Some(metadata) = tasks.file_at(id, directory, path) {
            self.files.insert((metadata.dev(), metadata.ino()));
        }
    }

    fn note_watched(&mut self, tasks: &Tasks, id: TaskId, path: u64) {
        if let Some(metadata) = tasks.file_at(id, libc::AT_FDCWD, path) {
            let new = self.has_made(&metadata);
            let known = self.watched.entry(metadata.ino()).or_insert((metadata.dev(), new));
            *known = (metadata.dev(), known.1 && new);
        }
    }
}

impl Tasks {
    /// Reads a socket address in a task's memory.
    pub(in crate::record) fn address(&self, id: TaskId, at: u64, len: u64) -> Address {
        /// Bytes of a `struct sockaddr_storage`.
        const LONGEST: u64 = 128;
        Address::decode(&self[id].space.memory.available(at, len.min(LONGEST) as usize))
    }

    /// Whether one of the program's own processes has the other end of a Unix socket, or listens there.
    fn has_as_peer(&self, socket: &OwnedFd) -> bool {
        getsockopt(socket, sockopt::PeerCredentials)
            .is_ok_and(|peer| self.living().any(|task| task.pid.as_raw() == peer.pid()))
    }

    fn file_at(&self, id: TaskId, directory: i32, path: u64) -> Option<Metadata> {
        let path = self[id].space.memory.text(path, PATH);
        file_at(self[id].tid, Place::of_directory(directory), &path).ok()
    }
}

fn socket_address(name: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|name| (name.ip(), name.port()).into());
    v4.or_else(|| name.as_sockaddr_in6().map(|name| (name.ip().to_canonical(), name.port()).into()))
}

pub(super) fn has_datagrams(socket: &OwnedFd) -> bool {
    getsockopt(socket, sockopt::SockType) == Ok(SockType::Datagram)
}

fn has_all(flags: u64, wanted: i32) -> bool {
    flags as i32 & wanted == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_has_bound_is_its_own() {
        let at = |text: &str| Address::Port(text.parse().unwrap());
        let mut reach = Reach::default();
        let mut bind = |datagrams, text: &str, chosen| {
            reach.ports.insert(Port { datagrams, address: text.parse().unwrap() }, chosen)
        };
        bind(false, "127.0.0.1:7", true);
        bind(true, "0.0.0.0:8", false);
        bind(false, "[::]:9", true);
        for (text, datagrams, own) in [
            ("127.0.0.1:7", false, true),
            ("127.0.0.1:7", true, false),
            ("127.0.0.2:7", false, false),
            ("127.0.0.2:8", true, true),
            ("10.0.0.1:8", true, false),
            ("127.0.0.1:9", false, true),
            ("[::1]:9", false, true),
            ("127.0.0.1:10", false, false),
        ] {
            assert_eq!(reach.is_own(&at(text), datagrams), own, "{text}");
        }
        assert_eq!([7, 8, 9, 10].map(|port| reach.has_chosen(port)), [true, false, true, false]);
        reach.names.extend([b"/tmp/s".to_vec(), b"s".to_vec()]);
        assert!(reach.is_own(&Address::Name(b"/tmp/s".to_vec()), false));
        assert!(!reach.is_own(&Address::Name(b"s".to_vec()), false), "it may be another directory's");
        assert!(reach.is_own(&Address::Kernel, false) && !reach.is_own(&Address::Other, false));
    }
}
