//! Finds the peer of a Unix socket by asking the kernel for its inode (sock_diag(7), `UDIAG_SHOW_PEER`).
//!
//! Each query is for one socket. If the kernel does not answer (it may be built without support), nothing is known.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// linux/sock_diag.h, linux/unix_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW_NAME: u32 = 1;
const SHOW_PEER: u32 = 4;
const SHOW_ICONS: u32 = 8;
const NAME: u16 = 0;
const PEER: u16 = 2;
const ICONS: u16 = 3;
/// `TCP_LISTEN`, which Unix sockets share.
const LISTENS: u8 = 10;

/// Bytes of a `struct nlmsghdr`, and of a `struct unix_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 16;

/// What the kernel reports about a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::record) struct UnixSocket {
    /// The inode of the peer; 0 if the peer has not been accepted yet.
    pub(in crate::record) peer: Option<u64>,
    pub(in crate::record) listens: bool,
    /// The inodes of the sockets that wait to be accepted here.
    pub(in crate::record) waiting: Vec<u64>,
    /// The name as people write it: a path, or `@` and an abstract name.
    pub(in crate::record) name: Option<String>,
}

impl UnixSocket {
    /// Queries the socket with this inode.
    pub(in crate::record) fn of(inode: u64) -> Option<Self> {
        let inode = u32::try_from(inode).ok()?;
        let protocol = SockProtocol::NetlinkSockDiag;
        let kernel: OwnedFd =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).ok()?;
        let mut kernel = File::from(kernel);
        kernel.write_all(&request(inode)).ok()?;
        let mut answer = vec![0; 16_384];
        let len = kernel.read(&mut answer).ok()?;
        answer.truncate(len);
        Self::decode(&answer)
    }

    /// Decodes a netlink message with a `struct unix_diag_msg` and its attributes.
    pub(in crate::record) fn decode(answer: &[u8]) -> Option<Self> {
        let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
        if kind != SOCK_DIAG_BY_FAMILY {
            return None;
        }
        let len = u32::from_ne_bytes(answer.get(..4)?.try_into().ok()?) as usize;
        let mut rest = answer.get(HEADER..len)?;
        // Family, type, state.
        let mut socket = Self { listens: *rest.get(2)? == LISTENS, ..Self::default() };
        rest = rest.get(MESSAGE..)?;
        while let [low, high, kind_low, kind_high, ..] = *rest {
            let len = usize::from(u16::from_ne_bytes([low, high]));
            let value = rest.get(4..len)?;
            let words =
                value.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
            let mut inodes = words.map(u64::from);
            match u16::from_ne_bytes([kind_low, kind_high]) {
                PEER => socket.peer = inodes.next(),
                ICONS => socket.waiting = inodes.collect(),
                NAME => socket.name = Some(name(value)).filter(|name| !name.is_empty()),
                _ => {}
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(socket)
    }
}

/// Encodes a netlink message with a `struct unix_diag_req` for one socket.
fn request(inode: u32) -> Vec<u8> {
    const REQUEST: u32 = 24;
    let flags = libc::NLM_F_REQUEST as u16;
    let mut bytes = (HEADER as u32 + REQUEST).to_ne_bytes().to_vec();
    bytes.extend([SOCK_DIAG_BY_FAMILY, flags].map(u16::to_ne_bytes).as_flattened());
    // Sequence number and port; family, protocol and padding.
    bytes.extend([1, 0, libc::AF_UNIX as u32].map(u32::to_ne_bytes).as_flattened());
    // In any state, with any cookie.
    let show = SHOW_NAME | SHOW_PEER | SHOW_ICONS;
    bytes.extend([u32::MAX, inode, show, u32::MAX, u32::MAX].map(u32::to_ne_bytes).as_flattened());
    bytes
}

/// Converts `sun_path` to words (unix(7)).
fn name(bytes: &[u8]) -> String {
    let end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    match bytes {
        [0, rest @ ..] => format!("@{}", String::from_utf8_lossy(rest)),
        path => String::from_utf8_lossy(&path[..end(path)]).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn inode_of(socket: &impl AsRawFd) -> u64 {
        use std::os::unix::fs::MetadataExt;
        crate::tracee::Fd::of(nix::unistd::Pid::this(), socket.as_raw_fd()).metadata().unwrap().ino()
    }

    #[test]
    fn the_other_end_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let Some(listens) = UnixSocket::of(inode_of(&listener)) else {
            return crate::testing::skip("the_other_end_is_told", "the kernel lacks CONFIG_UNIX_DIAG");
        };
        assert!(listens.listens && listens.peer.is_none());
        assert_eq!(listens.waiting, [inode_of(&client)]);
        assert_eq!(listens.name.as_deref(), path.to_str());
        assert_eq!(UnixSocket::of(inode_of(&client)).unwrap().peer, Some(0));
        let (server, _) = listener.accept().unwrap();
        assert_eq!(UnixSocket::of(inode_of(&client)).unwrap().peer, Some(inode_of(&server)));
        assert_eq!(UnixSocket::of(inode_of(&server)).unwrap().peer, Some(inode_of(&client)));
        assert_eq!(UnixSocket::of(1), None);
    }

    #[test]
    fn names_as_people_write_them() {
        assert_eq!(name(b"/tmp/s\0"), "/tmp/s");
        assert_eq!(name(b"\0abstract"), "@abstract");
    }
}
