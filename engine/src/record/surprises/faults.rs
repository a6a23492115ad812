//! Calls that fail as they seldom do: the n-th one of a kind.

use std::os::unix::fs::FileTypeExt;

use super::Surprises;
use super::strikes::Note;
use crate::record::asked_fault::AskedFault;
use crate::record::in_process::call_sites::CallSites;
use crate::record::poller::Poller;
use crate::record::scheduler::Scheduler;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::syscalls::{self, Address};
use crate::task::TaskId;

/// A fault that is to come.
#[derive(Clone, Debug)]
pub(in crate::record) struct Fault {
    kind: Surprise,
    errno: i32,
    counts: Counts,
    /// Calls up to the one that fails. A network that is down stays so: of name servers the later ones fail, too.
    calls: u64,
}

/// Which calls count.
#[derive(Clone, Debug)]
enum Counts {
    OfKind(&'static [(i64, About)]),
    /// By number.
    Asked(Vec<u64>),
}

/// What a call must be about to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Anything.
    Anything,
    /// The descriptor in argument 0 refers to a regular file.
    File,
    /// It refers to a socket.
    Socket,
    /// The address in this argument, with the length behind it, is a name server's.
    NameServer(usize),
}

/// How a kind of fault comes about: the calls that count, and the error.
type How = (Surprise, i32, &'static [(i64, About)]);

const FAULTS: [How; 5] = [
    (
        Surprise::Enospc,
        libc::ENOSPC,
        &[
            (libc::SYS_write, About::File),
            (libc::SYS_writev, About::File),
            (libc::SYS_pwrite64, About::File),
            (libc::SYS_pwritev, About::File),
            (libc::SYS_copy_file_range, About::Anything),
            (libc::SYS_fallocate, About::File),
            (libc::SYS_mkdir, About::Anything),
            (libc::SYS_mkdirat, About::Anything),
        ],
    ),
    (
        Surprise::Emfile,
        libc::EMFILE,
        &[
            (libc::SYS_open, About::Anything),
            (libc::SYS_openat, About::Anything),
            (libc::SYS_creat, About::Anything),
            (libc::SYS_pipe, About::Anything),
            (libc::SYS_pipe2, About::Anything),
            (libc::SYS_socket, About::Anything),
            (libc::SYS_socketpair, About::Anything),
            (libc::SYS_accept, About::Anything),
            (libc::SYS_accept4, About::Anything),
            (libc::SYS_dup, About::Anything),
            (libc::SYS_fcntl, About::Anything),
            (libc::SYS_epoll_create1, About::Anything),
            (libc::SYS_eventfd2, About::Anything),
            (libc::SYS_timerfd_create, About::Anything),
        ],
    ),
    (
        Surprise::Eintr,
        libc::EINTR,
        &[
            (libc::SYS_read, About::Socket),
            (libc::SYS_write, About::Socket),
            (libc::SYS_recvfrom, About::Socket),
            (libc::SYS_sendto, About::Socket),
            (libc::SYS_accept4, About::Socket),
            (libc::SYS_poll, About::Anything),
            (libc::SYS_wait4, About::Anything),
            (libc::SYS_flock, About::Anything),
        ],
    ),
    (
        Surprise::Econnreset,
        libc::ECONNRESET,
        &[
            (libc::SYS_read, About::Socket),
            (libc::SYS_readv, About::Socket),
            (libc::SYS_recvfrom, About::Socket),
            (libc::SYS_recvmsg, About::Socket),
            (libc::SYS_write, About::Socket),
            (libc::SYS_writev, About::Socket),
            (libc::SYS_sendto, About::Socket),
            (libc::SYS_sendmsg, About::Socket),
        ],
    ),
    (
        Surprise::Dns,
        libc::ENETUNREACH,
        &[(libc::SYS_connect, About::NameServer(1)), (libc::SYS_sendto, About::NameServer(4))],
    ),
];

impl Fault {
    /// The kinds that there are.
    pub(in crate::record) const KINDS: [Surprise; 5] =
        [Surprise::Enospc, Surprise::Emfile, Surprise::Eintr, Surprise::Econnreset, Surprise::Dns];

    /// Returns the fault of a kind that comes at this call; `None` if the kind is none of [`Self::KINDS`].
    pub(in crate::record) fn of_kind(kind: Surprise, calls: u64) -> Option<Self> {
        let (_, errno, counts) = FAULTS.iter().find(|(known, ..)| *known == kind)?;
        Some(Self { kind, errno: *errno, counts: Counts::OfKind(counts), calls })
    }

    /// Returns a fault that was asked for.
    pub(in crate::record) fn asked(asked: &AskedFault, calls: u64) -> Self {
        let counts = Counts::Asked(asked.calls.clone());
        Self { kind: Surprise::Fault, errno: asked.errno, counts, calls }
    }

    fn counts(&self, tasks: &Tasks, poller: &mut Poller, id: TaskId, call: &Call) -> bool {
        match &self.counts {
            Counts::OfKind(calls) => {
                let about = calls.iter().find(|(number, _)| *number == call.number() as i64);
                about.is_some_and(|(_, about)| about.is_of(tasks, poller, id, call))
            }
            Counts::Asked(calls) => calls.contains(&call.number()),
        }
    }
}

impl Surprises {
    /// Returns the error with which a call fails that a task is about to make, if that is a fault that was to come.
    pub(in crate::record) fn fails(
        &mut self,
        tasks: &Tasks,
        scheduler: &Scheduler,
        call_sites: &CallSites,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
    ) -> Option<i32> {
        if self.faults.is_empty() || scheduler.start_up.is_some() {
            return None;
        }
        let mut failed = None;
        for fault in &mut self.faults {
            let counts = fault.counts(tasks, poller, id, call);
            fault.calls = fault.calls.saturating_sub(counts.into());
            if counts && fault.calls == 0 {
                failed = failed.or(Some((fault.kind, fault.errno)));
            }
        }
        self.faults.retain(|fault| fault.calls > 0 || fault.kind == Surprise::Dns);
        let (kind, errno) = failed?;
        let place = Some(call_sites.place(tasks, id, &call.registers));
        let name = syscalls::name(call.number());
        let shown = match kind {
            Surprise::Fault => format!("{name}(2) failed with {}", std::io::Error::from_raw_os_error(errno)),
            _ => format!("{name}(2)"),
        };
        self.note_strike(Note { shown, place, ..Note::new(kind, id, Doing::Runs) });
        Some(errno)
    }
}

impl About {
    fn is_of(self, tasks: &Tasks, poller: &mut Poller, id: TaskId, call: &Call) -> bool {
        let args = call.args();
        let kind = |poller: &mut Poller| poller.metadata(tasks, id, args[0]).ok().map(|it| it.file_type());
        let duplicates = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&(args[1] as i32));
        match self {
            Self::Anything => call.number() != libc::SYS_fcntl as u64 || duplicates,
            Self::File => kind(poller).is_some_and(|kind| kind.is_file()),
            Self::Socket => kind(poller).is_some_and(|kind| kind.is_socket()),
            Self::NameServer(at) => {
                let address = tasks.address(id, args[at], args[at + 1]);
                matches!(address, Address::Port(address) if address.port() == 53)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_calls() {
        assert_eq!(FAULTS.map(|(kind, ..)| kind), Fault::KINDS);
        assert!(FAULTS.iter().all(|(_, errno, calls)| *errno > 0 && !calls.is_empty()));
        assert!(Fault::of_kind(Surprise::Late, 1).is_none());
    }
}
