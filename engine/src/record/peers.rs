//! Whose the other end of a socket is: whether what comes out of it is up to the recorded tree alone.
//!
//! The kernel tells in `/proc/PID/net` (proc_pid_net(5)). What it does not tell counts as the world: sockets bound to other
//! addresses than the machine's own, Unix sockets that are connected by name, packets.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;

use super::fds::links;

/// `TCP_SYN_SENT`, `TCP_SYN_RECV`, `TCP_LISTEN` (net/tcp_states.h).
const CONNECTING: [u8; 2] = [2, 3];
const LISTENS: u8 = 10;

/// An address as the kernel prints it, and a port.
type Address = (String, u16);

/// A line of `/proc/PID/net/tcp`, `udp` and their like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    local: Address,
    remote: Address,
    state: u8,
    /// Whether what it has sent is under way.
    sends: bool,
    /// 0 for one that nobody has accepted yet.
    inode: u64,
    datagrams: bool,
}

/// The sockets of a network.
#[derive(Debug)]
pub(super) struct Sockets {
    all: Vec<Socket>,
    /// The inodes of those that the recorded processes have.
    tree: BTreeSet<u64>,
    by_inode: BTreeMap<u64, usize>,
}

impl Sockets {
    /// Those in the network of a task; these are the recorded processes.
    pub(super) fn of(tid: Pid, processes: &BTreeSet<Pid>) -> Self {
        let read =
            |name: &str| std::fs::read_to_string(format!("/proc/{tid}/net/{name}")).unwrap_or_default();
        let [tcp, tcp6, udp, udp6] = ["tcp", "tcp6", "udp", "udp6"].map(read);
        let streams = tcp.lines().chain(tcp6.lines()).filter_map(|line| socket(line, false));
        let datagrams = udp.lines().chain(udp6.lines()).filter_map(|line| socket(line, true));
        let tree =
            processes.iter().flat_map(|pid| links(*pid)).filter_map(|(_, link)| inode_of(&link)).collect();
        Self::new(streams.chain(datagrams).collect(), tree)
    }

    fn new(all: Vec<Socket>, tree: BTreeSet<u64>) -> Self {
        let by_inode = all.iter().enumerate().map(|(at, socket)| (socket.inode, at)).collect();
        Self { all, tree, by_inode }
    }

    /// Whether only the recorded processes can make a socket ready, and nothing is under way to any of theirs.
    pub(super) fn inside(&self, inode: u64) -> bool {
        let Some(socket) = self.by_inode.get(&inode).map(|at| &self.all[*at]) else { return false };
        self.is_quiet() && self.is_inside(socket)
    }

    /// Whether a recorded process listens at a port, or takes datagrams there, on whatever address.
    pub(super) fn has_port(&self, port: u16) -> bool {
        let takes = |socket: &Socket| socket.state == LISTENS || socket.datagrams;
        self.all
            .iter()
            .any(|socket| socket.local.1 == port && takes(socket) && self.tree.contains(&socket.inode))
    }

    fn is_inside(&self, socket: &Socket) -> bool {
        if socket.remote.1 == 0 {
            // It listens, or takes datagrams from anybody.
            return (socket.state == LISTENS || socket.datagrams) && is_loopback(&socket.local.0);
        }
        self.all.iter().any(|peer| {
            let answers = peer.local == socket.remote && peer.remote == socket.local;
            // Nobody has accepted it yet: whoever listens there will.
            let listens = peer.local.1 == socket.remote.1 && peer.state == LISTENS;
            let takes = peer.datagrams && peer.local == socket.remote;
            let same = peer.datagrams == socket.datagrams;
            same && self.tree.contains(&peer.inode)
                && (answers || takes || listens && is_loopback(&socket.remote.0))
        })
    }

    /// Whether nothing that the recorded processes have sent is still to arrive or to be confirmed (Nagle's algorithm holds
    /// back what follows it).
    fn is_quiet(&self) -> bool {
        let busy = |socket: &Socket| socket.sends || CONNECTING.contains(&socket.state);
        !self.all.iter().any(|socket| self.tree.contains(&socket.inode) && busy(socket))
    }
}

/// The inode in a link of `/proc/PID/fd` to a socket.
pub(super) fn inode_of(link: &str) -> Option<u64> {
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

/// IPv4 addresses that are written as IPv6 ones are those of IPv4.
fn address(text: &str) -> Option<Address> {
    const MAPPED: &str = "0000000000000000FFFF0000";
    let (address, port) = text.split_once(':')?;
    let address = address.strip_prefix(MAPPED).unwrap_or(address);
    Some((address.to_owned(), u16::from_str_radix(port, 16).ok()?))
}

/// Whether nobody outside of the machine has this address (words in its own byte order).
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
        Sockets::new(all, tree.iter().copied().collect())
    }

    #[test]
    fn both_ends_of_a_connection_are_found() {
        let both = sockets(&[LISTENER, CLIENT, SERVER, FAR], &[11, 12, 13, 14]);
        assert_eq!([11, 12, 13, 14, 15].map(|inode| both.inside(inode)), [true, true, true, false, false]);
        let one = sockets(&[LISTENER, CLIENT, SERVER], &[12]);
        assert!(!one.inside(12), "the server is somebody else");
    }

    #[test]
    fn one_that_nobody_has_accepted_is_its_listener_s() {
        let line = SERVER.replace(" 13 1 x", " 0 1 x");
        assert!(sockets(&[LISTENER, CLIENT, &line], &[11, 12]).inside(12));
        assert!(!sockets(&[LISTENER, CLIENT, &line], &[12]).inside(12));
    }

    #[test]
    fn what_is_under_way_is_waited_for() {
        let sends = CLIENT.replace("00000000:00000000", "00000005:00000000");
        assert!(!sockets(&[LISTENER, &sends, SERVER], &[11, 12, 13]).inside(13));
        let others = FAR.replace("00000000:00000000", "00000005:00000000");
        assert!(sockets(&[LISTENER, CLIENT, SERVER, &others], &[11, 12, 13]).inside(13));
    }

    #[test]
    fn links_to_sockets_are_read() {
        assert_eq!(inode_of("socket:[12]"), Some(12));
        assert_eq!(inode_of("pipe:[12]"), None);
    }
}
