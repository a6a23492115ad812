//! Where a debugger connects, and who may.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;
use rrtest_engine::debug::Stream;

use crate::base::exit::{CliError, Status};
use std::os::fd::AsFd;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A port of this machine, for programs of the same user.
    Port(u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        match text.parse() {
            Ok(port) => Ok(Self::Port(port)),
            Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(CliError::usage(format!("`{text}` is no port: there are 65535")))
            }
            Err(_) => Ok(Self::Unix(PathBuf::from(text))),
        }
    }
}

/// A place that is listened at.
pub(super) enum Listener {
    Tcp(TcpListener),
    /// The socket's file goes with it.
    Unix(UnixListener, PathBuf),
}

/// How often it is looked whether somebody still may come.
const LOOK: Duration = Duration::from_millis(200);

impl Listener {
    pub(super) fn bind(place: &Place) -> Result<Self, CliError> {
        let bound = match place {
            Place::Port(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map(Self::Tcp),
            Place::Unix(path) => UnixListener::bind(path).map(|it| Self::Unix(it, path.clone())),
        };
        bound.map_err(|error| {
            let (what, instead) = match place {
                Place::Port(port) => (format!("port {port} of this machine"), "choose another, or 0 for any"),
                Place::Unix(path) => (format!("`{}`", path.display()), "choose another, or remove it"),
            };
            CliError::new(Status::Usage, format!("cannot listen at {what}: {error}\n  {instead}"))
        })
    }

    /// The command by which gdb connects.
    pub(super) fn how(&self) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("target remote {address}"),
                Err(error) => format!("(the port is not known: {error})"),
            },
            Self::Unix(_, path) => format!("target remote {}", path.display()),
        }
    }

    /// Waits for a client that may come in, as long as that makes sense.
    pub(super) fn accept_while(&self, goes_on: &mut dyn FnMut() -> bool) -> Result<Option<Stream>, CliError> {
        let failed = |error: io::Error| CliError::os("cannot wait for a debugger", &error);
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        loop {
            let fd = match self {
                Self::Tcp(listener) => listener.as_fd(),
                Self::Unix(listener, _) => listener.as_fd(),
            };
            match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => match self {
                    Self::Unix(listener, _) => {
                        return listener
                            .accept()
                            .map(|(stream, _)| Some(Stream::Unix(stream)))
                            .map_err(failed);
                    }
                    Self::Tcp(listener) => {
                        let (stream, from) = listener.accept().map_err(failed)?;
                        if is_ours(&stream, from) {
                            return Ok(Some(Stream::Tcp(stream)));
                        }
                        crate::base::terminal::error(&format!("refused {from}: it is another user's"));
                    }
                },
                Err(errno) => return Err(failed(errno.into())),
            }
            if !goes_on() {
                return Ok(None);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Who has removed it already has done the same.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the program at the other end is this user's, or root's: whoever debugs a trace reads all that is in it.
fn is_ours(stream: &TcpStream, from: SocketAddr) -> bool {
    let (Ok(here), Ok(table)) = (stream.local_addr(), fs::read_to_string("/proc/net/tcp")) else {
        return false;
    };
    let owner = owner(&table, from, here);
    owner.is_some_and(|uid| uid == 0 || uid == Uid::effective().as_raw())
}

/// Returns the user whose socket, in the kernel's table of TCP sockets (proc_net_tcp(5)), has these addresses: its own, and
/// the one that it is connected to.
fn owner(table: &str, own: SocketAddr, connected: SocketAddr) -> Option<u32> {
    let word = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            let ip = u32::from_ne_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        }
        SocketAddr::V6(_) => None,
    };
    let (own, connected) = (word(own)?, word(connected)?);
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&own.as_str()) && words.get(2) == Some(&connected.as_str());
        is_it.then(|| words.get(7)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_socket_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (stream, from) = listener.accept().expect("a client");
        assert!(is_ours(&stream, from));
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        assert_eq!(owner(&table, from, stream.local_addr().unwrap()), Some(Uid::effective().as_raw()));
        assert_eq!(owner("  sl  local_address\n", from, from), None);
        drop(client);
    }

    #[test]
    fn a_place_is_a_port_or_a_path() {
        assert_eq!("0".parse::<Place>().unwrap(), Place::Port(0));
        assert_eq!("/run/x".parse::<Place>().unwrap(), Place::Unix("/run/x".into()));
        assert!("70000".parse::<Place>().is_err());
    }
}
