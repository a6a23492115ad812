//! Whether the program waits for an outsider, in virtual time: then its sleeps are meant for the outsider, and must
//! last.
//!
//! A program that waits for a server to come up, or for a lock of another process, often does not wait in a call. It
//! tries, sleeps, and tries again, up to a limit. During the sleep nothing shows that it waits for an outsider: only
//! the attempts do. So time is not fast-forwarded once the program has tried an address that none of its own sockets
//! has, or a lock that an outsider holds, until it succeeds after all: the server of a test may simply not have started
//! yet.
//!
//! What cannot be seen is ignored: outsiders for which the program waits by looking at a file or a process.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use crate::record::kernel::peers::Sockets;
use crate::record::options::{Options, Time};
use crate::record::poller::Poller;
use crate::record::step::Flow;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::task::TaskId;
use crate::trace::log::inodes::Identity;
use crate::tracee::{Fd, FileLock, file_locks};

/// Something that the program has tried to reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sought {
    /// A socket's address (struct sockaddr).
    Address(Vec<u8>),
    /// A lock on a file.
    Lock(Identity),
}

/// What the program tries to reach outside.
#[derive(Debug, Default)]
pub(in crate::record) struct Abroad {
    sought: BTreeSet<Sought>,
    /// Addresses that are the program's own.
    own: BTreeSet<Vec<u8>>,
}

impl Abroad {
    /// Whether it tries to reach anything outside.
    pub(in crate::record) fn is_sought(&self) -> bool {
        !self.sought.is_empty()
    }
}

/// An address that a call tries to reach.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A port on some machine.
    Port(u16),
    /// The name of a Unix socket.
    Name,
}

impl Place {
    /// Decodes a struct sockaddr. Returns `None` for an address that is no other process's, for instance the kernel's
    /// (netlink(7)).
    pub(in crate::record) fn of(address: &[u8]) -> Option<Self> {
        /// The daemon that C libraries ask for names of users and hosts, if there is one (nscd(8)).
        const NAMES: &[u8] = b"/var/run/nscd/socket";
        let family = i32::from(u16::from_ne_bytes(address.get(..2)?.try_into().ok()?));
        match family {
            libc::AF_INET | libc::AF_INET6 => {
                Some(Self::Port(u16::from_be_bytes(address.get(2..4)?.try_into().ok()?)))
            }
            libc::AF_UNIX if address[2..].starts_with(NAMES) => None,
            libc::AF_UNIX => Some(Self::Name),
            _ => None,
        }
    }
}

impl Abroad {
    /// Notes whether a call has tried to reach an outsider, or has reached one of the program's own.
    pub(in crate::record) fn note_reach(
        &mut self,
        options: &Options<'_>,
        tasks: &Tasks,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
        result: i64,
    ) -> Flow<()> {
        if options.time == Time::Real {
            return Ok(());
        }
        let args = call.args();
        match call.number() as i64 {
            libc::SYS_connect => self.note_address(tasks, poller, id, [args[0], args[1], args[2]], result),
            libc::SYS_sendto if args[4] != 0 => {
                self.note_address(tasks, poller, id, [args[0], args[4], args[5]], result)
            }
            libc::SYS_sendmsg => {
                // struct msghdr begins with the name and its length.
                let memory = &tasks.space(id).memory;
                match (memory.u64(args[1]), memory.u32(args[1] + 8)) {
                    (Ok(name), Ok(len)) if name != 0 => {
                        self.note_address(tasks, poller, id, [args[0], name, len.into()], result)
                    }
                    _ => Ok(()),
                }
            }
            libc::SYS_flock => {
                self.note_lock(tasks, id, args[0], result);
                Ok(())
            }
            libc::SYS_fcntl if matches!(args[1] as i32, libc::F_SETLK | libc::F_OFD_SETLK) => {
                self.note_lock(tasks, id, args[0], result);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_address(
        &mut self,
        tasks: &Tasks,
        poller: &mut Poller,
        id: TaskId,
        [fd, address, len]: [u64; 3],
        result: i64,
    ) -> Flow<()> {
        /// The largest address (`struct sockaddr_storage`).
        const MOST: u64 = 128;
        /// Errors of the address or the socket, which do not show whether somebody is there.
        const WRONG: [i32; 8] = [
            libc::EBADF,
            libc::ENOTSOCK,
            libc::EINVAL,
            libc::EFAULT,
            libc::EISCONN,
            libc::EAFNOSUPPORT,
            libc::EPROTOTYPE,
            libc::EPIPE,
        ];
        let Ok(address) = tasks.space(id).memory.bytes(address, len.min(MOST) as usize) else {
            return Ok(());
        };
        let wrong = WRONG.iter().any(|errno| result == -i64::from(*errno));
        let Some(place) = Place::of(&address).filter(|_| !wrong && !self.own.contains(&address)) else {
            return Ok(());
        };
        let own = match place {
            Place::Port(port) => Sockets::of(tasks[id].tid, tasks.processes()).has_port(port),
            Place::Name => result >= 0 && poller.is_peer_recorded(tasks, id, fd),
        };
        if own {
            self.sought.remove(&Sought::Address(address.clone()));
            self.own.insert(address);
        } else {
            self.sought.insert(Sought::Address(address));
        }
        Ok(())
    }

    fn note_lock(&mut self, tasks: &Tasks, id: TaskId, fd: u64, result: i64) {
        let Ok(metadata) = Fd::argument(tasks[id].tid, fd).metadata() else {
            return;
        };
        let lock = Sought::Lock(crate::trace::log::inodes::identity(&metadata));
        if result >= 0 {
            self.sought.remove(&lock);
        } else if [libc::EAGAIN, libc::EACCES].iter().any(|errno| result == -i64::from(*errno)) {
            let ours = |lock: &FileLock| tasks.living().any(|task| task.pid.as_raw() == lock.pid);
            let locks = file_locks().unwrap_or_default();
            let mut held = locks.iter().filter(|lock| lock.file.inode == metadata.ino() && !lock.waits);
            if !held.all(ours) {
                self.sought.insert(lock);
            }
        }
    }
}

impl Poller {
    /// Whether the process at the other end of a Unix socket is recorded (unix(7), `SO_PEERCRED`). False for sockets
    /// without a connection.
    fn is_peer_recorded(&mut self, tasks: &Tasks, id: TaskId, fd: u64) -> bool {
        use nix::sys::socket::{getsockopt, sockopt};
        let peer = self
            .descriptor(tasks, id, fd)
            .and_then(|socket| getsockopt(socket, sockopt::PeerCredentials).ok());
        peer.is_some_and(|peer| tasks.living().any(|task| task.pid.as_raw() == peer.pid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_processes() {
        let address = |family: i32, rest: &[u8]| [&(family as u16).to_ne_bytes()[..], rest].concat();
        assert_eq!(Place::of(&address(libc::AF_INET, &[0x1f, 0x90, 127, 0, 0, 1])), Some(Place::Port(8080)));
        assert_eq!(Place::of(&address(libc::AF_UNIX, b"/run/docker.sock")), Some(Place::Name));
        assert_eq!(Place::of(&address(libc::AF_UNIX, b"/var/run/nscd/socket\0")), None);
        assert_eq!(Place::of(&address(libc::AF_NETLINK, &[0; 10])), None);
        assert_eq!(Place::of(&address(libc::AF_UNSPEC, &[0; 10])), None);
        assert_eq!(Place::of(&[1]), None);
    }
}
