//! Passes a descriptor to a process that may not open the file itself, as it has changed its user or root directory.

use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, sockopt::PeerCredentials};

use super::remote::call;
use crate::Error;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::{Registers, Stopped};
use crate::tracee::system::os;

/// Bytes used at the borrowed address.
pub(in crate::tracee) const ROOM: usize = 256;

/// Offsets in the borrowed memory of the parts of a message (recvmsg(2)).
mod at {
    pub(super) const HEADER: u64 = 0;
    pub(super) const IOV: u64 = 64;
    pub(super) const DATA: u64 = 80;
    pub(super) const CONTROL: u64 = 96;
    /// A control message's header comes first, then the descriptor.
    pub(super) const DESCRIPTOR: u64 = CONTROL + 16;
    pub(super) const CONTROL_LEN: u64 = 24;
}

/// Passes `file` to a process over a Unix socket with an abstract name (unix(7)), to which no file permissions apply.
/// Returns the descriptor's number there, or a negated errno. `start` are the registers at the injection code, `room`
/// is the address of [`ROOM`] bytes that may be used.
pub(in crate::tracee) fn pass_descriptor(
    task: Stopped,
    memory: &Memory,
    start: Registers,
    room: u64,
    file: &impl AsFd,
) -> Result<(Stopped, i64), Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let failed = || os(format!("give process {} of the program a descriptor", memory.pid()));
    let name = format!("rrtest-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let listener = SocketAddr::from_abstract_name(&name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(failed())?;
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64;
    let (task, socket) =
        call(task, start, libc::SYS_socket as u64, [libc::AF_UNIX as u64, kind, 0, 0, 0, 0])?;
    if socket < 0 {
        return Ok((task, socket));
    }
    let address = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0", name.as_bytes()].concat();
    memory.write(room, &address)?;
    let args = [socket as u64, room, address.len() as u64, 0, 0, 0];
    let (task, connected) = call(task, start, libc::SYS_connect as u64, args)?;
    let mut result = connected;
    let mut task = task;
    if connected == 0 {
        let (stream, _) = listener.accept().map_err(failed())?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(|e| failed()(e.into()))?;
        if peer.pid() != memory.pid().as_raw() {
            return Err(failed()(std::io::Error::other("another process was faster")));
        }
        let fds = [file.as_fd().as_raw_fd()];
        let data = [std::io::IoSlice::new(b"!")];
        sendmsg::<()>(stream.as_raw_fd(), &data, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None)
            .map_err(|e| failed()(e.into()))?;
        let header: [u64; 7] = [0, 0, room + at::IOV, 1, room + at::CONTROL, at::CONTROL_LEN, 0];
        memory.write(room + at::HEADER, &words(&header))?;
        memory.write(room + at::IOV, &words(&[room + at::DATA, 1]))?;
        let args = [socket as u64, room, libc::MSG_CMSG_CLOEXEC as u64, 0, 0, 0];
        let received;
        (task, received) = call(task, start, libc::SYS_recvmsg as u64, args)?;
        result = if received < 0 { received } else { memory.u32(room + at::DESCRIPTOR)?.into() };
    }
    let (task, _) = call(task, start, libc::SYS_close as u64, [socket as u64, 0, 0, 0, 0, 0])?;
    Ok((task, result))
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
