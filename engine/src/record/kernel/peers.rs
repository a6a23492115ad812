//! Finds a socket's peer: whether what comes out of a socket depends on the recorded tree alone.
//!
//! The kernel lists sockets in `/proc/PID/net` (proc_pid_net(5)). What it does not list counts as the outside world:
//! sockets bound to other than local addresses, packets. Unix sockets are in [`super::unix_sockets`].
//!
//! Data in flight belongs to no task, yet wakes one. A stream's sender shows it: its queue has what the other side has
//! not acknowledged. If the other side has no room, the sender's queue never empties. Then the sender's `TCP_INFO`
//! (tcp(7)) must show that nothing is in flight and the window is closed, and the receiver must agree, as it may have
//! just opened the window. A datagram over loopback leaves no trace at the sender: it has been delivered, or waits in a
//! processor's backlog, which `/proc/net/softnet_stat` counts.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::unistd::Pid;

use crate::tracee::{FdCopies, InetSocket, inet_sockets, named_fds, packets_are_delivered, socket_inode};

/// `TCP_ESTABLISHED`, `TCP_CLOSE_WAIT`, `TCP_LISTEN` (net/tcp_states.h).
const CONNECTED: [u8; 2] = [1, 8];
const LISTENS: u8 = 10;
/// `TCP_SYN_SENT`, `TCP_SYN_RECV`.
const CONNECTING: [u8; 2] = [2, 3];

/// A process that has a socket, and its descriptor.
type Holder = (Pid, i32);

/// The sockets of a network namespace.
#[derive(Debug)]
pub(in crate::record) struct Sockets {
    all: Vec<InetSocket>,
    /// The sockets of the recorded processes.
    tree: BTreeMap<u64, Holder>,
    by_inode: BTreeMap<u64, usize>,
    /// Whether packets may wait to be delivered.
    backlog: bool,
}

impl Sockets {
    /// Reads the sockets of a task's network namespace. `processes` are the recorded ones.
    ///
    /// If a list cannot be read, no socket is known, which makes all of them the outside world's: of a part of them,
    /// something could be in flight unseen.
    pub(in crate::record) fn of(tid: Pid, processes: impl IntoIterator<Item = Pid>) -> Self {
        let all = inet_sockets(tid).unwrap_or_default();
        Self { backlog: !packets_are_delivered(tid), ..Self::new(all, held(processes)) }
    }

    fn new(all: Vec<InetSocket>, tree: BTreeMap<u64, Holder>) -> Self {
        let by_inode = all.iter().enumerate().map(|(at, socket)| (socket.inode, at)).collect();
        Self { all, tree, by_inode, backlog: false }
    }

    fn socket(&self, inode: u64) -> Option<&InetSocket> {
        self.by_inode.get(&inode).map(|at| &self.all[*at])
    }

    /// Whether only the recorded processes can make a socket ready, unless an outsider connects to where they listen,
    /// and nothing is in flight to any of theirs.
    pub(in crate::record) fn inside(&self, inode: u64) -> bool {
        let Some(socket) = self.socket(inode) else { return false };
        self.is_quiet() && (self.is_local(socket) || self.is_inside(socket))
    }

    /// Whether a recorded process listens at a port, or receives datagrams there, on any address.
    pub(in crate::record) fn has_port(&self, port: u16) -> bool {
        let takes = |socket: &InetSocket| socket.state == LISTENS || socket.datagrams;
        self.all.iter().any(|socket| {
            socket.local.port() == port && takes(socket) && self.tree.contains_key(&socket.inode)
        })
    }

    /// Returns the inodes at the other end of a connection, if they belong to the recorded processes and nothing is in
    /// flight to any of those: one socket, or the listening ones at which the connection waits to be accepted.
    pub(in crate::record) fn other_end(&self, inode: u64) -> Option<Vec<u64>> {
        let socket = self.socket(inode)?;
        let ends = self.ends(socket);
        let all = !ends.is_empty() && ends.iter().all(|inode| self.tree.contains_key(inode));
        (all && self.is_quiet() && !(socket.datagrams && self.backlog)).then_some(ends)
    }

    /// Returns the port of a socket that receives from anybody, if only this machine can reach it and nothing is in
    /// flight.
    pub(in crate::record) fn open_port(&self, inode: u64) -> Option<u16> {
        let socket = self.socket(inode)?;
        (self.is_local(socket) && self.is_quiet() && !self.backlog).then_some(socket.local.port())
    }

    /// Describes a socket in words.
    pub(in crate::record) fn name(&self, inode: u64) -> Option<Name> {
        let socket = self.socket(inode)?;
        Some(Name {
            protocol: if socket.datagrams { "UDP" } else { "TCP" },
            local: socket.local.to_string(),
            remote: (socket.remote.port() != 0).then(|| socket.remote.to_string()),
        })
    }

    /// Returns the inodes at the other end of a connection.
    fn ends(&self, socket: &InetSocket) -> Vec<u64> {
        let of = |wanted: &dyn Fn(&InetSocket) -> bool| -> Vec<u64> {
            self.all
                .iter()
                .filter(|other| other.datagrams == socket.datagrams && wanted(other))
                .map(|other| other.inode)
                .collect()
        };
        if socket.remote.port() == 0 {
            return Vec::new();
        }
        if socket.datagrams {
            // Any socket at this port may send from it.
            let exact = |other: &InetSocket| other.local == socket.remote;
            let known = socket.remote.ip().is_loopback() || self.all.iter().any(exact);
            return if known { of(&|other| other.local.port() == socket.remote.port()) } else { Vec::new() };
        }
        let answers = |other: &InetSocket| other.local == socket.remote && other.remote == socket.local;
        match self.all.iter().find(|other| !other.datagrams && answers(other)) {
            // Not accepted yet: the process that listens there will accept it.
            Some(InetSocket { inode: 0, state, .. }) if CONNECTED.contains(state) => {
                of(&|other| other.state == LISTENS && other.local.port() == socket.remote.port())
            }
            Some(InetSocket { inode: 0, .. }) | None => Vec::new(),
            Some(peer) => vec![peer.inode],
        }
    }

    /// Returns the inodes at the other end of the socket with this inode.
    pub(in crate::record) fn ends_of(&self, inode: u64) -> Vec<u64> {
        self.socket(inode).map(|socket| self.ends(socket)).unwrap_or_default()
    }

    /// Whether a socket listens, or receives datagrams from anybody, where only this machine can reach it.
    fn is_local(&self, socket: &InetSocket) -> bool {
        socket.remote.port() == 0
            && (socket.state == LISTENS || socket.datagrams)
            && socket.local.ip().is_loopback()
    }

    fn is_inside(&self, socket: &InetSocket) -> bool {
        socket.remote.port() != 0
            && self.all.iter().any(|peer| {
                let answers = peer.local == socket.remote && peer.remote == socket.local;
                // Not accepted yet: the process that listens there will accept it.
                let listens = peer.local.port() == socket.remote.port() && peer.state == LISTENS;
                let takes = peer.datagrams && peer.local == socket.remote;
                peer.datagrams == socket.datagrams
                    && self.tree.contains_key(&peer.inode)
                    && (answers || takes || listens && socket.remote.ip().is_loopback())
            })
    }

    /// Whether everything sent to or by the recorded processes has arrived and been acknowledged (Nagle's algorithm
    /// holds back what follows unacknowledged data).
    fn is_quiet(&self) -> bool {
        let own = self.all.iter().filter(|socket| self.tree.contains_key(&socket.inode));
        let own: HashSet<_> = own.map(|socket| (&socket.local, &socket.remote)).collect();
        // A closed socket still sends what it has.
        let concerns = |socket: &InetSocket| {
            self.tree.contains_key(&socket.inode) || own.contains(&(&socket.remote, &socket.local))
        };
        let busy = |socket: &InetSocket| {
            CONNECTING.contains(&socket.state) || socket.sends && !self.is_shut_out(socket)
        };
        !self.all.iter().any(|socket| concerns(socket) && busy(socket))
    }

    /// Whether a socket cannot send until the other side reads, and the other side does not.
    fn is_shut_out(&self, socket: &InetSocket) -> bool {
        if socket.datagrams {
            return false;
        }
        let state = |inode| self.tree.get(inode).and_then(|holder| TcpState::of(*holder));
        let [peer] = self.ends(socket)[..] else { return false };
        state(&socket.inode).is_some_and(|own| own.unconfirmed == 0 && own.room == 0 && !own.limited)
            && state(&peer).is_some_and(|peer| peer.offers == Some(0))
    }
}

/// Returns the sockets of processes, with a descriptor of each.
fn held(processes: impl IntoIterator<Item = Pid>) -> BTreeMap<u64, Holder> {
    let all = processes.into_iter().flat_map(named_fds);
    all.filter_map(|(fd, name)| Some((socket_inode(&name)?, (fd.tid, fd.number)))).collect()
}

/// A socket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::record) struct Name {
    pub(in crate::record) protocol: &'static str,
    pub(in crate::record) local: String,
    /// `None` if it is not connected.
    pub(in crate::record) remote: Option<String>,
}

/// State of a TCP socket.
#[derive(Debug)]
struct TcpState {
    /// Packets that the other side has not acknowledged.
    unconfirmed: u32,
    /// The window that the other side offers.
    room: u32,
    /// The window that it last offered the other side. Kernels before 6.2 do not report it.
    offers: Option<u32>,
    /// Whether it gives up after some time.
    limited: bool,
}

impl TcpState {
    pub(in crate::record) fn of((pid, fd): Holder) -> Option<Self> {
        /// Offsets of `tcpi_unacked`, `tcpi_snd_wnd` and `tcpi_rcv_wnd` in `struct tcp_info` (linux/tcp.h).
        const PLACES: [usize; 3] = [24, 228, 232];
        let copy = FdCopies::default().of(pid, fd)?;
        let info = tcp_option(&copy, libc::TCP_INFO)?;
        let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
        let [unconfirmed, room, offers] = PLACES.map(word);
        Some(Self {
            unconfirmed: unconfirmed?,
            room: room?,
            offers,
            limited: tcp_option(&copy, libc::TCP_USER_TIMEOUT)?.iter().any(|byte| *byte != 0),
        })
    }
}

/// Returns the value of an option of a TCP socket (tcp(7)).
fn tcp_option(socket: &OwnedFd, option: i32) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 512];
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `value` is a live local of `len` bytes, of which the kernel writes no more, and says how many.
    let got = unsafe {
        let value = value.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, value, &raw mut len)
    };
    value.truncate(len as usize);
    (got == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 11 1 x";
    const CLIENT: &str =
        "   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  0 0 12 1 x";
    const SERVER: &str = "   2: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C350 01 00000000:00000005 00:00000000 00000000  0 0 13 1 x";
    const FAR: &str =
        "   3: 0A00000A:C351 08080808:0050 01 00000000:00000000 00:00000000 00000000  0 0 14 1 x";

    fn sockets(lines: &[&str], tree: &[u64]) -> Sockets {
        let all = lines.iter().map(|line| InetSocket::parse(line, false).expect("a socket")).collect();
        let holder = (Pid::from_raw(-1), 0);
        Sockets::new(all, tree.iter().map(|inode| (*inode, holder)).collect())
    }

    #[test]
    fn both_ends_of_a_connection_are_found() {
        let both = sockets(&[LISTENER, CLIENT, SERVER, FAR], &[11, 12, 13, 14]);
        assert_eq!([11, 12, 13, 14, 15].map(|inode| both.inside(inode)), [true, true, true, false, false]);
        let one = sockets(&[LISTENER, CLIENT, SERVER], &[12]);
        assert!(!one.inside(12), "the server is somebody else");
        assert_eq!(
            [11, 12, 13, 14].map(|inode| both.other_end(inode)),
            [None, Some(vec![13]), Some(vec![12]), None]
        );
        assert_eq!(one.other_end(12), None);
        assert_eq!((both.open_port(11), both.open_port(12)), (Some(8080), None));
    }

    #[test]
    fn one_that_nobody_has_accepted_is_its_listener_s() {
        let line = SERVER.replace(" 13 1 x", " 0 1 x");
        assert!(sockets(&[LISTENER, CLIENT, &line], &[11, 12]).inside(12));
        assert!(!sockets(&[LISTENER, CLIENT, &line], &[12]).inside(12));
        assert_eq!(sockets(&[LISTENER, CLIENT, &line], &[11, 12]).other_end(12), Some(vec![11]));
        let closed = line.replace(" 01 ", " 05 ");
        assert_eq!(sockets(&[LISTENER, CLIENT, &closed], &[11, 12]).other_end(12), None);
    }

    #[test]
    fn what_is_under_way_is_waited_for() {
        let sends = CLIENT.replace("00000000:00000000", "00000005:00000000");
        assert!(!sockets(&[LISTENER, &sends, SERVER], &[11, 12, 13]).inside(13));
        let others = FAR.replace("00000000:00000000", "00000005:00000000");
        assert!(sockets(&[LISTENER, CLIENT, SERVER, &others], &[11, 12, 13]).inside(13));
        let closed = sends.replace(" 01 ", " 04 ").replace(" 12 1 x", " 0 1 x");
        assert!(!sockets(&[LISTENER, &closed, SERVER], &[11, 13]).inside(11), "it is closed, and sends");
    }

    #[test]
    fn whoever_has_the_port_can_send_datagrams_from_it() {
        let one = "0: 0100007F:0007 0100007F:0008 01 00000000:00000000 00:0 0 0 0 21 2 x 0";
        let other = "1: 0100007F:0008 0100007F:0007 01 00000000:00000000 00:0 0 0 0 22 2 x 0";
        let also = "2: 00000000:0008 00000000:0000 07 00000000:00000000 00:0 0 0 0 23 2 x 0";
        let of = |lines: &[&str], tree: &[u64]| {
            let all = lines.iter().map(|line| InetSocket::parse(line, true).expect("a socket")).collect();
            let holder = (Pid::from_raw(-1), 0);
            Sockets::new(all, tree.iter().map(|inode| (*inode, holder)).collect()).other_end(21)
        };
        assert_eq!(of(&[one, other], &[21, 22]), Some(vec![22]));
        assert_eq!(of(&[one, other, also], &[21, 22]), None);
        assert_eq!(of(&[one], &[21]), None);
        assert_eq!(of(&[one, also], &[21, 23]), Some(vec![23]));
    }

    #[test]
    fn addresses_as_people_write_them() {
        let name = sockets(&[CLIENT], &[]).name(12).expect("a name");
        assert_eq!((name.protocol, &*name.local), ("TCP", "127.0.0.1:50000"));
        assert_eq!(name.remote.as_deref(), Some("127.0.0.1:8080"));
    }
}
