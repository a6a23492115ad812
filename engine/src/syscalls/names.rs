//! By what names a call refers to things that others know, too: paths and socket addresses.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::tracee::Memory;

/// A path that a call takes. Numbers are indices of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathTaken {
    /// The descriptor of the directory at which a relative path starts, where the call takes one.
    pub directory: Option<usize>,
    /// The path's address.
    pub at: usize,
    /// What the call does there.
    pub role: Role,
}

/// What a call does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It opens it, as its flags say ([`open_flags`]).
    Opens,
    /// It creates, changes, renames or removes it.
    Changes,
    /// It makes a directory of it.
    Makes,
    /// It makes it the working or the root directory.
    Enters,
    /// It looks whether it is there, and how.
    LooksAt,
}

use Role::{Changes, Enters, LooksAt, Makes, Opens};

/// Paths that calls take, those of a call in the order of its arguments.
#[rustfmt::skip]
const PATHS: &[(i64, Option<usize>, usize, Role)] = &[
    (libc::SYS_open, None, 0, Opens),
    (libc::SYS_openat, Some(0), 1, Opens),
    (libc::SYS_openat2, Some(0), 1, Opens),
    (libc::SYS_creat, None, 0, Changes),
    (libc::SYS_mknod, None, 0, Changes),
    (libc::SYS_mknodat, Some(0), 1, Changes),
    (libc::SYS_rmdir, None, 0, Changes),
    (libc::SYS_unlink, None, 0, Changes),
    (libc::SYS_unlinkat, Some(0), 1, Changes),
    (libc::SYS_link, None, 1, Changes),
    (libc::SYS_linkat, Some(2), 3, Changes),
    (libc::SYS_symlink, None, 1, Changes),
    (libc::SYS_symlinkat, Some(1), 2, Changes),
    (libc::SYS_rename, None, 0, Changes),
    (libc::SYS_rename, None, 1, Changes),
    (libc::SYS_renameat, Some(0), 1, Changes),
    (libc::SYS_renameat, Some(2), 3, Changes),
    (libc::SYS_renameat2, Some(0), 1, Changes),
    (libc::SYS_renameat2, Some(2), 3, Changes),
    (libc::SYS_truncate, None, 0, Changes),
    (libc::SYS_chmod, None, 0, Changes),
    (libc::SYS_fchmodat, Some(0), 1, Changes),
    (libc::SYS_fchmodat2, Some(0), 1, Changes),
    (libc::SYS_chown, None, 0, Changes),
    (libc::SYS_lchown, None, 0, Changes),
    (libc::SYS_fchownat, Some(0), 1, Changes),
    (libc::SYS_mkdir, None, 0, Makes),
    (libc::SYS_mkdirat, Some(0), 1, Makes),
    (libc::SYS_chdir, None, 0, Enters),
    (libc::SYS_chroot, None, 0, Enters),
    (libc::SYS_stat, None, 0, LooksAt),
    (libc::SYS_lstat, None, 0, LooksAt),
    (libc::SYS_newfstatat, Some(0), 1, LooksAt),
    (libc::SYS_statx, Some(0), 1, LooksAt),
    (libc::SYS_access, None, 0, LooksAt),
    (libc::SYS_faccessat, Some(0), 1, LooksAt),
    (libc::SYS_faccessat2, Some(0), 1, LooksAt),
    (libc::SYS_readlink, None, 0, LooksAt),
    (libc::SYS_readlinkat, Some(0), 1, LooksAt),
];

/// Iterates over the paths that a call takes.
pub fn paths(number: u64) -> impl Iterator<Item = PathTaken> {
    let of_call = PATHS.iter().filter(move |(call, ..)| *call as u64 == number);
    of_call.map(|&(_, directory, at, role)| PathTaken { directory, at, role })
}

/// Returns the flags with which open(2) or openat(2) opens. `None` for other calls: openat2(2) has them in memory.
#[must_use]
pub fn open_flags(number: u64, args: &[u64; 6]) -> Option<i32> {
    match number as i64 {
        libc::SYS_open => Some(args[1] as i32),
        libc::SYS_openat => Some(args[2] as i32),
        _ => None,
    }
}

/// Where a call takes a socket address.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// At the address in this argument; the next one is the length.
    Plain(usize),
    /// A msghdr, in this argument, begins with its address and length.
    Message(usize),
    /// Of each of as many mmsghdrs in this argument as the call returns.
    Messages(usize),
}

/// Calls that take a socket address.
const ADDRESSES: &[(i64, Taken)] = &[
    (libc::SYS_bind, Taken::Plain(1)),
    (libc::SYS_connect, Taken::Plain(1)),
    (libc::SYS_sendto, Taken::Plain(4)),
    (libc::SYS_sendmsg, Taken::Message(1)),
    (libc::SYS_sendmmsg, Taken::Messages(1)),
];

/// Whether the names that a call takes are socket addresses.
#[must_use]
pub fn takes_address(number: u64) -> bool {
    ADDRESSES.iter().any(|(call, _)| *call as u64 == number)
}

/// Longest path (PATH_MAX).
const PATH: usize = 4096;

/// Returns what a call with this result has taken from memory as names: its paths, without the null byte, or its socket
/// addresses, as `struct sockaddr`. What a call only looks at is left out.
#[must_use]
pub fn names(memory: &Memory, number: u64, args: &[u64; 6], result: i64) -> Vec<Vec<u8>> {
    let paths = paths(number).filter(|path| path.role != LooksAt);
    let mut names: Vec<_> = paths.map(|path| text(memory, args[path.at])).collect();
    let taken = ADDRESSES.iter().find(|(call, _)| *call as u64 == number);
    match taken.map(|(_, taken)| *taken) {
        None => {}
        Some(Taken::Plain(at)) => names.extend(address(memory, args[at], args[at + 1])),
        Some(Taken::Message(at)) => names.extend(of_message(memory, args[at])),
        Some(Taken::Messages(at)) => {
            /// Bytes of a struct mmsghdr, and the most of them that the kernel takes (`UIO_MAXIOV`).
            const MESSAGE: u64 = 64;
            const MOST: i64 = 1024;
            let message = |n: u64| of_message(memory, args[at].wrapping_add(n * MESSAGE));
            names.extend((0..result.clamp(0, MOST).cast_unsigned()).filter_map(message));
        }
    }
    names
}

/// The bytes at an address up to a null byte. Paths are short, and mostly on one page.
fn text(memory: &Memory, address: u64) -> Vec<u8> {
    const PART: usize = 256;
    let mut text = Vec::new();
    while text.len() < PATH {
        let part = memory.available(address.wrapping_add(text.len() as u64), PART);
        let end = part.iter().position(|byte| *byte == 0);
        text.extend_from_slice(&part[..end.unwrap_or(part.len())]);
        if end.is_some() || part.len() < PART {
            break;
        }
    }
    text
}

fn address(memory: &Memory, at: u64, len: u64) -> Option<Vec<u8>> {
    /// Bytes of a `struct sockaddr_storage`.
    const LONGEST: u64 = 128;
    (at != 0 && len != 0).then(|| memory.available(at, len.min(LONGEST) as usize))
}

/// The address in a `struct msghdr`, which begins with its place and its length.
fn of_message(memory: &Memory, at: u64) -> Option<Vec<u8>> {
    let len = memory.u32(at.wrapping_add(8)).ok()?;
    address(memory, memory.u64(at).ok()?, len.into())
}

/// A socket address, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Of the Internet protocols.
    Port(SocketAddr),
    /// `sun_path` (unix(7)).
    Name(Vec<u8>),
    /// The kernel itself, or nobody (netlink(7), `AF_UNSPEC`).
    Kernel,
    /// Any other.
    Other,
}

impl Address {
    /// Decodes a `struct sockaddr`.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let family = bytes.first_chunk().map(|family| i32::from(u16::from_ne_bytes(*family)));
        match (family, bytes) {
            (Some(libc::AF_INET), [_, _, high, low, a, b, c, d, ..]) => {
                Self::Port((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])).into())
            }
            (Some(libc::AF_INET6), [_, _, high, low, _, _, _, _, address @ ..]) if address.len() >= 16 => {
                let address: [u8; 16] = std::array::from_fn(|at| address[at]);
                let address = Ipv6Addr::from(address).to_canonical();
                Self::Port((address, u16::from_be_bytes([*high, *low])).into())
            }
            (Some(libc::AF_NETLINK | libc::AF_UNSPEC), _) => Self::Kernel,
            (Some(libc::AF_UNIX), [_, _, path @ ..]) => Self::Name(trimmed(path).to_vec()),
            _ => Self::Other,
        }
    }
}

/// Returns the relevant part of `sun_path`: a path up to its end, or all of an abstract name (unix(7)).
fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|byte| *byte == 0).filter(|end| *end > 0);
    &path[..end.unwrap_or(path.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_decoded() {
        let v4 = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Address::decode(&v4), Address::Port(([127, 0, 0, 1], 8080).into()));
        let mut v6 = vec![10, 0, 0x1f, 0x90, 0, 0, 0, 0];
        v6.extend([0; 15]);
        v6.extend([1, 0, 0, 0, 0]);
        assert_eq!(Address::decode(&v6), Address::Port((Ipv6Addr::LOCALHOST, 8080).into()));
        assert_eq!(Address::decode(b"\x01\0/tmp/s\0\0\0"), Address::Name(b"/tmp/s".to_vec()));
        assert_eq!(Address::decode(b"\x01\0\0name"), Address::Name(b"\0name".to_vec()));
        assert_eq!((Address::decode(&[]), Address::decode(&[2, 0])), (Address::Other, Address::Other));
        assert_eq!(Address::decode(&[16, 0, 0, 0]), Address::Kernel);
    }

    #[test]
    fn names_are_read_from_memory() {
        let memory = Memory::open(nix::unistd::getpid()).unwrap();
        let at = |bytes: &[u8]| bytes.as_ptr().expose_provenance() as u64;
        let (one, other, long) = (b"/one\0", b"other\0", [b'x'; 5000]);
        let rename = [at(one), at(other), 0, 0, 0, 0];
        assert_eq!(names(&memory, libc::SYS_rename as u64, &rename, 0), [&b"/one"[..], b"other"]);
        assert_eq!(names(&memory, libc::SYS_open as u64, &[at(&long); 6], 0)[0].len(), PATH);
        assert_eq!(names(&memory, libc::SYS_open as u64, &[0; 6], 0), [b""]);
        assert!(names(&memory, libc::SYS_stat as u64, &rename, 0).is_empty(), "it is only looked at");
        let name = b"\x01\0/socket";
        let connect = [3, at(name), name.len() as u64, 0, 0, 0];
        assert_eq!(names(&memory, libc::SYS_connect as u64, &connect, 0), [name]);
        let mut message = [0_u64; 16];
        (message[0], message[1]) = (at(name), name.len() as u64);
        (message[8], message[9]) = (at(name), 3);
        let messages = message.as_ptr().expose_provenance() as u64;
        let sent = |number, result| names(&memory, number, &[3, messages, 2, 0, 0, 0], result);
        assert_eq!(sent(libc::SYS_sendmsg as u64, 1), [name]);
        assert_eq!(sent(libc::SYS_sendmmsg as u64, 2), [&name[..], &name[..3]]);
    }

    #[test]
    fn a_call_s_paths_are_told_in_the_order_of_its_arguments() {
        let mut last = (0, 0);
        for (at, (number, _, path, _)) in PATHS.iter().enumerate() {
            assert!(*number != last.0 || *path > last.1, "line {at}");
            last = (*number, *path);
        }
    }
}
