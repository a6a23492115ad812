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

use super::fds::links;
use crate::tracee::FdCopies;

/// `TCP_ESTABLISHED`, `TCP_CLOSE_WAIT`, `TCP_LISTEN` (net/tcp_states.h).
const CONNECTED: [u8; 2] = [1, 8];
const LISTENS: u8 = 10;
/// `TCP_SYN_SENT`, `TCP_SYN_RECV`.
const CONNECTING: [u8; 2] = [2, 3];

/// An address as the kernel prints it, and a port.
type Address = (String, u16);

/// A line of `/proc/PID/net/tcp`, `udp` and the like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    local: Address,
    remote: Address,
    state: u8,
    /// Whether it has sent data that is in flight.
    sends: bool,
    /// 0 for a socket that has not been accepted yet, or is closed.
    inode: u64,
    datagrams: bool,
}

/// A process that has a socket, and its descriptor.
type Holder = (Pid, i32);

/// The sockets of a network namespace.
#[derive(Debug)]
pub(in crate::record) struct Sockets {
    all: Vec<Socket>,
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
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{tid}/net/{name}"));
        let all = listed(["tcp", "tcp6", "udp", "udp6"].map(read)).unwrap_or_default();
        let backlog = !is_delivered(&read("softnet_stat").unwrap_or_default());
        Self { backlog, ..Self::new(all, held(processes)) }
    }

    fn new(all: Vec<Socket>, tree: BTreeMap<u64, Holder>) -> Self {
        let by_inode = all.iter().enumerate().map(|(at, socket)| (socket.inode, at)).collect();
        Self { all, tree, by_inode, backlog: false }
    }

    fn socket(&self, inode: u64) -> Option<&Socket> {
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
        let takes = |socket: &Socket| socket.state == LISTENS || socket.datagrams;
        self.all
            .iter()
            .any(|socket| socket.local.1 == port && takes(socket) && self.tree.contains_key(&socket.inode))
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
        (self.is_local(socket) && self.is_quiet() && !self.backlog).then_some(socket.local.1)
    }

    /// Describes a socket in words.
    pub(in crate::record) fn name(&self, inode: u64) -> Option<Name> {
        let socket = self.socket(inode)?;
        Some(Name {
            protocol: if socket.datagrams { "UDP" } else { "TCP" },
            local: written(&socket.local),
            remote: (socket.remote.1 != 0).then(|| written(&socket.remote)),
        })
    }

    /// Returns the inodes at the other end of a connection.
    fn ends(&self, socket: &Socket) -> Vec<u64> {
        let of = |wanted: &dyn Fn(&Socket) -> bool| -> Vec<u64> {
            self.all
                .iter()
                .filter(|other| other.datagrams == socket.datagrams && wanted(other))
                .map(|other| other.inode)
                .collect()
        };
        if socket.remote.1 == 0 {
            return Vec::new();
        }
        if socket.datagrams {
            // Any socket at this port may send from it.
            let exact = |other: &Socket| other.local == socket.remote;
            let known = is_loopback(&socket.remote.0) || self.all.iter().any(exact);
            return if known { of(&|other| other.local.1 == socket.remote.1) } else { Vec::new() };
        }
        let answers = |other: &Socket| other.local == socket.remote && other.remote == socket.local;
        match self.all.iter().find(|other| !other.datagrams && answers(other)) {
            // Not accepted yet: the process that listens there will accept it.
            Some(Socket { inode: 0, state, .. }) if CONNECTED.contains(state) => {
                of(&|other| other.state == LISTENS && other.local.1 == socket.remote.1)
            }
            Some(Socket { inode: 0, .. }) | None => Vec::new(),
            Some(peer) => vec![peer.inode],
        }
    }

    /// Returns the inodes at the other end of the socket with this inode.
    pub(in crate::record) fn ends_of(&self, inode: u64) -> Vec<u64> {
        self.socket(inode).map(|socket| self.ends(socket)).unwrap_or_default()
    }

    /// Whether a socket listens, or receives datagrams from anybody, where only this machine can reach it.
    fn is_local(&self, socket: &Socket) -> bool {
        socket.remote.1 == 0 && (socket.state == LISTENS || socket.datagrams) && is_loopback(&socket.local.0)
    }

    fn is_inside(&self, socket: &Socket) -> bool {
        socket.remote.1 != 0
            && self.all.iter().any(|peer| {
                let answers = peer.local == socket.remote && peer.remote == socket.local;
                // Not accepted yet: the process that listens there will accept it.
                let listens = peer.local.1 == socket.remote.1 && peer.state == LISTENS;
                let takes = peer.datagrams && peer.local == socket.remote;
                peer.datagrams == socket.datagrams
                    && self.tree.contains_key(&peer.inode)
                    && (answers || takes || listens && is_loopback(&socket.remote.0))
            })
    }

    /// Whether everything sent to or by the recorded processes has arrived and been acknowledged (Nagle's algorithm
    /// holds back what follows unacknowledged data).
    fn is_quiet(&self) -> bool {
        let own = self.all.iter().filter(|socket| self.tree.contains_key(&socket.inode));
        let own: HashSet<_> = own.map(|socket| (&socket.local, &socket.remote)).collect();
        // A closed socket still sends what it has.
        let concerns = |socket: &Socket| {
            self.tree.contains_key(&socket.inode) || own.contains(&(&socket.remote, &socket.local))
        };
        let busy =
            |socket: &Socket| CONNECTING.contains(&socket.state) || socket.sends && !self.is_shut_out(socket);
        !self.all.iter().any(|socket| concerns(socket) && busy(socket))
    }

    /// Whether a socket cannot send until the other side reads, and the other side does not.
    fn is_shut_out(&self, socket: &Socket) -> bool {
        if socket.datagrams {
            return false;
        }
        let state = |inode| self.tree.get(inode).and_then(|holder| TcpState::of(*holder));
        let [peer] = self.ends(socket)[..] else { return false };
        state(&socket.inode).is_some_and(|own| own.unconfirmed == 0 && own.room == 0 && !own.limited)
            && state(&peer).is_some_and(|peer| peer.offers == Some(0))
    }
}

/// Returns the sockets in these lists: of streams, then of datagrams. `None` if one cannot be read. A kernel without the
/// protocol has no list of its sockets.
fn listed([tcp, tcp6, udp, udp6]: [std::io::Result<String>; 4]) -> Option<Vec<Socket>> {
    let mut all = Vec::new();
    for (list, datagrams) in [(tcp, false), (tcp6, false), (udp, true), (udp6, true)] {
        match list {
            Ok(list) => all.extend(list.lines().filter_map(|line| socket(line, datagrams))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    Some(all)
}

/// Returns the sockets of processes, with a descriptor of each.
fn held(processes: impl IntoIterator<Item = Pid>) -> BTreeMap<u64, Holder> {
    let all = processes.into_iter().flat_map(|pid| links(pid).map(move |(fd, link)| (pid, fd, link)));
    all.filter_map(|(pid, fd, link)| Some((inode_of(&link)?, (pid, fd)))).collect()
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

/// Whether no processor has undelivered packets, according to `softnet_stat`: the twelfth number of each line is the
/// length of its backlog (net/core/net-procfs.c). False if the file is missing.
fn is_delivered(stat: &str) -> bool {
    let empty = |line: &str| line.split_whitespace().nth(11).is_some_and(|len| len == "00000000");
    !stat.is_empty() && stat.lines().all(empty)
}

/// Parses the inode in a link of `/proc/PID/fd` to a socket.
pub(in crate::record) fn inode_of(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn socket(line: &str, datagrams: bool) -> Option<Socket> {
    // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, queues, _, _, _, _, inode, ..] = fields[..] else { return None };
    Some(Socket {
        local: address(local)?,
        remote: address(remote)?,
        state: u8::from_str_radix(state, 16).ok()?,
        sends: u32::from_str_radix(queues.split(':').next()?, 16).ok()? != 0,
        inode: inode.parse().ok()?,
        datagrams,
    })
}

/// Parses an address. IPv4-mapped IPv6 addresses become IPv4 addresses.
fn address(text: &str) -> Option<Address> {
    const MAPPED: &str = "0000000000000000FFFF0000";
    let (address, port) = text.split_once(':')?;
    let address = address.strip_prefix(MAPPED).unwrap_or(address);
    Some((address.to_owned(), u16::from_str_radix(port, 16).ok()?))
}

/// Formats an address for people.
fn written((address, port): &Address) -> String {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let words = (0..address.len() / 8).map(|at| u32::from_str_radix(&address[at * 8..at * 8 + 8], 16));
    let words: Vec<u8> = words.map(Result::unwrap_or_default).flat_map(u32::to_ne_bytes).collect();
    match (<[u8; 4]>::try_from(&words[..]), <[u8; 16]>::try_from(&words[..])) {
        (Ok(v4), _) => SocketAddr::from((Ipv4Addr::from(v4), *port)).to_string(),
        (_, Ok(v6)) => SocketAddr::from((Ipv6Addr::from(v6), *port)).to_string(),
        _ => format!("{address}:{port}"),
    }
}

/// Whether an address is a loopback address (its words in native byte order).
fn is_loopback(address: &str) -> bool {
    const V6: &str = "00000000000000000000000001000000";
    address == V6 || address.len() == 8 && address.ends_with("7F")
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
        let all = lines.iter().map(|line| socket(line, false).expect("a socket")).collect();
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
            let all = lines.iter().map(|line| socket(line, true).expect("a socket")).collect();
            let holder = (Pid::from_raw(-1), 0);
            Sockets::new(all, tree.iter().map(|inode| (*inode, holder)).collect()).other_end(21)
        };
        assert_eq!(of(&[one, other], &[21, 22]), Some(vec![22]));
        assert_eq!(of(&[one, other, also], &[21, 22]), None);
        assert_eq!(of(&[one], &[21]), None);
        assert_eq!(of(&[one, also], &[21, 23]), Some(vec![23]));
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_no_socket_known() {
        let lists = |udp6| {
            let streams = format!("header\n{LISTENER}\n{CLIENT}\n{SERVER}\n");
            listed([Ok(streams), Ok(String::new()), Ok(String::new()), udp6])
        };
        let error = |errno| Err(std::io::Error::from_raw_os_error(errno));
        assert_eq!(lists(Ok(String::new())).map(|all| all.len()), Some(3));
        assert_eq!(lists(error(libc::ENOENT)).map(|all| all.len()), Some(3), "there is no such protocol");
        assert_eq!(lists(error(libc::EMFILE)), None);
    }

    #[test]
    fn packets_in_a_backlog_are_counted() {
        let line =
            |backlog: &str| format!("0000002d {} {backlog} 00000001 00000000\n", ["00000000"; 10].join(" "));
        assert!(is_delivered(&(line("00000000") + &line("00000000"))));
        assert!(!is_delivered(&(line("00000000") + &line("00000001"))));
        assert!(!is_delivered("0000002d 00000000\n") && !is_delivered(""));
    }

    #[test]
    fn addresses_as_people_write_them() {
        let name = sockets(&[CLIENT], &[]).name(12).expect("a name");
        assert_eq!((name.protocol, &*name.local), ("TCP", "127.0.0.1:50000"));
        assert_eq!(name.remote.as_deref(), Some("127.0.0.1:8080"));
        let six = ("00000000000000000000000001000000".to_owned(), 7);
        assert_eq!(written(&six), "[::1]:7");
    }

    #[test]
    fn links_to_sockets_are_read() {
        assert_eq!(inode_of("socket:[12]"), Some(12));
        assert_eq!(inode_of("pipe:[12]"), None);
    }
}
