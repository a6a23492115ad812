//! Surprises that strike in calls ([`crate::schedule::surprise`] lists all kinds, and what makes them legal). Surprises
//! in time are in [`super::under_way`], those of yielding tasks in [`super::yields`].
//!
//! Replay needs nothing new for them: calls have the results and outputs that are in the log, and time passes as
//! logged.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;

use super::Surprises;
use crate::record::in_process::call_sites::CallSites;
use crate::record::poller::Poller;
use crate::record::scheduler::Scheduler;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Strategy;
use crate::schedule::injector::Injector;
use crate::schedule::surprise::Surprise;
use crate::task::TaskId;
use crate::trace::event::Registers;
use crate::tracee::fds;

impl Surprises {
    /// Whether a surprise of this kind strikes a task now. None does while the program starts up, which all attempts have in
    /// common.
    pub(in crate::record) fn strikes(&mut self, scheduler: &Scheduler, kind: Surprise, id: TaskId) -> bool {
        scheduler.start_up.is_none() && self.injector.strike(kind, id)
    }

    /// Returns the registers with which a call reads or writes less than requested, if that surprise strikes.
    pub(in crate::record) fn shortened(
        &mut self,
        tasks: &Tasks,
        scheduler: &Scheduler,
        call_sites: &CallSites,
        poller: &mut Poller,
        id: TaskId,
        call: &Call,
    ) -> Option<Registers> {
        let [fd, _, len, flags, ..] = call.args();
        let number = call.number() as i64;
        let reads = matches!(number, libc::SYS_read | libc::SYS_recvfrom);
        let writes = matches!(number, libc::SYS_write | libc::SYS_sendto);
        let plain = matches!(number, libc::SYS_read | libc::SYS_write)
            || flags as i32 & !(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) == 0;
        if !(reads || writes) || !plain || len < 2 || !self.injector.have(Surprise::Short) {
            return None;
        }
        let dont_wait =
            !matches!(number, libc::SYS_read | libc::SYS_write) && flags as i32 & libc::MSG_DONTWAIT != 0;
        let copy = poller.descriptor(tasks, id, fd)?;
        // A blocking write is complete unless a signal interrupts it.
        if writes && !(dont_wait || is_nonblocking(copy)) {
            return None;
        }
        let least = least(copy)?;
        // Programs that get edge-triggered events take a short read or write for the end of the data (epoll(7),
        // "Questions and answers"): they would never hear of the rest.
        if least >= len || tasks.is_in_epoll(id, fd) || !self.strikes(scheduler, Surprise::Short, id) {
            return None;
        }
        let mut args = call.args();
        args[2] = self.injector.amount(Surprise::Short, least, len);
        self.note_scripted(tasks, call_sites, Surprise::Short, id, call);
        let mut registers = call.registers;
        registers.set_args(args);
        Some(registers)
    }

    /// Whether a task that is about to wait in epoll_wait(2) is interrupted instead.
    pub(in crate::record) fn is_interrupted(
        &mut self,
        scheduler: &Scheduler,
        id: TaskId,
        call: &Call,
    ) -> bool {
        let waits = matches!(
            call.number() as i64,
            libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2
        );
        waits && self.strikes(scheduler, Surprise::Interrupt, id)
    }
}

impl Tasks {
    /// Whether an epoll descriptor of a task's process watches this descriptor.
    fn is_in_epoll(&self, id: TaskId, fd: u64) -> bool {
        let Ok(mut all) = fds(self[id].tid) else { return true };
        all.any(|epoll| {
            epoll.name().is_ok_and(|name| name == "anon_inode:[eventpoll]")
                && epoll.info().is_ok_and(|info| info.watched_descriptors().any(|it| it == fd as i32))
        })
    }
}

/// Returns the function that picks the waiter to wake: the first to have come, unless any may be picked.
pub(in crate::record) fn whom<'a>(
    strategy: &'a mut dyn Strategy,
    injector: &Injector,
) -> impl FnMut(&[TaskId]) -> usize + use<'a> {
    let any = injector.allow(Surprise::Order);
    move |waiters| if any { strategy.wake(waiters) } else { 0 }
}

/// Returns the smallest size of a short read or write on a descriptor; `None` if it is no byte stream.
fn least(copy: &File) -> Option<u64> {
    use nix::sys::socket::{SockType, getsockopt, sockopt};
    let kind = copy.metadata().ok()?.file_type();
    if kind.is_socket() {
        return (getsockopt(copy, sockopt::SockType) == Ok(SockType::Stream)).then_some(1);
    }
    // Packets (pipe2(2), `O_DIRECT`) are never split.
    (kind.is_fifo() && status(copy) & libc::O_DIRECT == 0).then_some(libc::PIPE_BUF as u64)
}

fn is_nonblocking(copy: &File) -> bool {
    status(copy) & libc::O_NONBLOCK != 0
}

pub(in crate::record) fn status(copy: &File) -> i32 {
    // SAFETY: F_GETFL takes no argument.
    unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_GETFL) }
}
