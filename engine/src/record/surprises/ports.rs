//! Ports that are handed out again: a socket that is bound to any port gets one that the program had before, and has
//! given back.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt;

use super::Surprises;
use super::strikes::Note;
use crate::record::in_process::call_sites::CallSites;
use crate::record::poller::Poller;
use crate::record::scheduler::Scheduler;
use crate::record::tree::call::Call;
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::syscalls::Address;
use crate::task::TaskId;
use crate::trace::event::Registers;
use crate::tracee::named_fds;

/// Bytes of an address that are copied (`struct sockaddr_in6`), and the offset of the port.
const ADDRESS: u64 = 28;
const PORT: usize = 2;

/// Ports that are remembered at most.
const MOST: usize = 64;

/// A port that the kernel has given a socket.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Given {
    port: u16,
    datagrams: bool,
    /// The socket's inode.
    socket: u64,
}

impl Surprises {
    /// Returns registers with which bind(2) gives a socket a port that has been given back, if that surprise strikes.
    pub(in crate::record) fn bound_again(
        &mut self,
        tasks: &Tasks,
        scheduler: &Scheduler,
        call_sites: &CallSites,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
    ) -> Option<Registers> {
        let (address, datagrams, _) = self.any_port(tasks, poller, id, call)?;
        let open = |given: &Given| {
            let name = format!("socket:[{}]", given.socket);
            tasks.processes().into_iter().any(|pid| named_fds(pid).any(|(_, it)| it == *name))
        };
        let at = self.ports.iter().position(|given| {
            given.datagrams == datagrams && !open(given) && is_free(address.ip(), given.port, datagrams)
        })?;
        if !self.strikes(scheduler, Surprise::PortReuse, id) {
            return None;
        }
        let Given { port, .. } = self.ports.swap_remove(at);
        let base = tasks[id].scratch?;
        let mut args = call.args();
        let memory = &tasks.space(id).memory;
        let mut bytes = memory.bytes(args[1], args[2].min(ADDRESS) as usize).ok()?;
        bytes.get_mut(PORT..PORT + 2)?.copy_from_slice(&port.to_be_bytes());
        args[1] = base + scratch::TIMEOUT;
        memory.write(args[1], &bytes).ok()?;
        let place = Some(call_sites.place(tasks, id, &call.registers));
        let shown = port.to_string();
        self.note_strike(Note { shown, place, ..Note::new(Surprise::PortReuse, id, Doing::Runs) });
        let mut registers = call.registers;
        registers.set_args(args);
        Some(registers)
    }

    /// Notes a port that the kernel has given a socket.
    pub(in crate::record) fn note_given(
        &mut self,
        tasks: &Tasks,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
        result: i64,
    ) {
        if result < 0 || self.ports.len() >= MOST {
            return;
        }
        let Some((_, datagrams, socket)) = self.any_port(tasks, poller, id, call) else { return };
        let copy = poller.descriptor(tasks, id, call.args()[0]).and_then(|copy| copy.try_clone().ok());
        // Either kind of socket tells its address.
        let name = copy.and_then(|copy| UdpSocket::from(std::os::fd::OwnedFd::from(copy)).local_addr().ok());
        self.ports.extend(name.map(|name| Given { port: name.port(), datagrams, socket }));
    }

    /// Returns the address to which bind(2) binds a socket at any port, whether it is for datagrams, and its inode;
    /// `None` for other calls.
    fn any_port(
        &self,
        tasks: &Tasks,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
    ) -> Option<(SocketAddr, bool, u64)> {
        use nix::sys::socket::{SockType, getsockopt, sockopt};
        if call.number() != libc::SYS_bind as u64 || !self.injector.have(Surprise::PortReuse) {
            return None;
        }
        let [fd, at, len, ..] = call.args();
        let Address::Port(address) = tasks.address(id, at, len) else { return None };
        let socket = poller.metadata(tasks, id, fd).ok()?.ino();
        let kind = getsockopt(poller.descriptor(tasks, id, fd)?, sockopt::SockType).ok()?;
        let known = matches!(kind, SockType::Stream | SockType::Datagram);
        (address.port() == 0 && known).then_some((address, kind == SockType::Datagram, socket))
    }
}

/// Whether a port can be bound.
fn is_free(ip: IpAddr, port: u16, datagrams: bool) -> bool {
    match datagrams {
        true => UdpSocket::bind((ip, port)).is_ok(),
        false => TcpListener::bind((ip, port)).is_ok(),
    }
}
