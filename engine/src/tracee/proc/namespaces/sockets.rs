//! The sockets of a network namespace, as `/proc/PID/net` lists them (proc_pid_net(5)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::unistd::Pid;

/// A TCP or UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InetSocket {
    /// Its address.
    pub local: SocketAddr,
    /// The other side's; with port 0 if it is not connected.
    pub remote: SocketAddr,
    /// net/tcp_states.h
    pub state: u8,
    /// Whether it has sent data that is in flight.
    pub sends: bool,
    /// 0 if it has not been accepted yet, or is closed.
    pub inode: u64,
    /// Whether it is of UDP.
    pub datagrams: bool,
}

/// Lists the sockets of a task's network namespace. A kernel without a protocol has no sockets of it.
///
/// # Errors
/// If a list cannot be read: nothing is known then, as a part of the sockets might lack the other side.
pub fn inet_sockets(tid: Pid) -> io::Result<Vec<InetSocket>> {
    parse_all(["tcp", "tcp6", "udp", "udp6"].map(|name| read(tid, name)))
}

/// Whether no processor has packets that are not delivered yet. False if that is not known.
#[must_use]
pub fn packets_are_delivered(tid: Pid) -> bool {
    is_delivered(&read(tid, "softnet_stat").unwrap_or_default())
}

fn read(tid: Pid, name: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/{tid}/net/{name}"))
}

/// Parses these lists: of streams, then of datagrams.
fn parse_all([tcp, tcp6, udp, udp6]: [io::Result<String>; 4]) -> io::Result<Vec<InetSocket>> {
    let mut all = Vec::new();
    for (list, datagrams) in [(tcp, false), (tcp6, false), (udp, true), (udp6, true)] {
        match list {
            Ok(list) => all.extend(list.lines().filter_map(|line| InetSocket::parse(line, datagrams))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Parses `softnet_stat`: the twelfth number of each line is the length of a processor's backlog
/// (net/core/net-procfs.c).
fn is_delivered(stat: &str) -> bool {
    let empty = |line: &str| line.split_whitespace().nth(11).is_some_and(|len| len == "00000000");
    !stat.is_empty() && stat.lines().all(empty)
}

impl InetSocket {
    /// Parses a line of a list of streams or of datagrams.
    #[must_use]
    pub fn parse(line: &str, datagrams: bool) -> Option<Self> {
        // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, queues, _, _, _, _, inode, ..] = fields[..] else { return None };
        Some(Self {
            local: address(local)?,
            remote: address(remote)?,
            state: u8::from_str_radix(state, 16).ok()?,
            sends: u32::from_str_radix(queues.split(':').next()?, 16).ok()? != 0,
            inode: inode.parse().ok()?,
            datagrams,
        })
    }
}

/// Parses an address: words in the machine's byte order, and a port. IPv4-mapped IPv6 addresses become IPv4 addresses.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words =
        (0..address.len()).step_by(8).map(|at| u32::from_str_radix(address.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?)).to_canonical(),
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |text| address(text).map(|address| address.to_string());
        assert_eq!(read("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(read("00000000000000000000000001000000:0007").as_deref(), Some("[::1]:7"));
        assert_eq!(read("0000000000000000FFFF00000100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        for none in ["0100007F", "0100007:0007", "010000é:0007", "0100007F0100007F:0007", "x:y", ""] {
            assert_eq!(address(none), None, "{none}");
        }
    }

    #[test]
    fn sockets_of_ours_are_listed() {
        use std::os::fd::AsRawFd;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = Pid::this();
        let name = crate::tracee::proc::Fd::of(own, listener.as_raw_fd()).name().unwrap();
        let inode = crate::tracee::proc::socket_inode(&name).unwrap();
        let all = inet_sockets(own).unwrap();
        let found = all.iter().find(|socket| socket.inode == inode).unwrap();
        assert_eq!((found.local, found.remote.port()), (listener.local_addr().unwrap(), 0));
        assert!(!found.datagrams && !found.sends);
    }

    #[test]
    fn a_list_that_cannot_be_read_leaves_no_socket_known() {
        const SOCKET: &str =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 11 1 x";
        let lists = |udp6| {
            let streams = format!("header\n{SOCKET}\n{SOCKET}\n");
            parse_all([Ok(streams), Ok(String::new()), Ok(String::new()), udp6]).map(|all| all.len()).ok()
        };
        let error = |errno| Err(io::Error::from_raw_os_error(errno));
        assert_eq!(lists(Ok(String::new())), Some(2));
        assert_eq!(lists(error(libc::ENOENT)), Some(2), "there is no such protocol");
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
}
