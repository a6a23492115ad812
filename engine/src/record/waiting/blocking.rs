//! Calls that may have to wait for a descriptor.
//!
//! The kernel must not write into a program's memory while other tasks run. So a call that would block is not left in
//! the kernel: its task waits in a ppoll(2) of ours on the same descriptors, which writes to scratch memory only, and
//! makes its call when it has the core again.

use libc::timespec;

use super::watches::{are_ready, socket_limit};
use crate::record::kernel::fds;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::{self, Time};
use crate::record::tree::call::{Call, Waited, interrupted, restart};
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Hold;
use crate::schedule::Why;
use crate::syscalls::{Block, Description, describe};
use crate::task::TaskId;
use crate::trace::event::{Registers, Write};
use crate::tracee::{Resume, Stop, Stopped, descriptor_room};

/// What a call waits for.
pub(in crate::record) struct Watch {
    /// As poll(2) takes them.
    fds: Vec<u8>,
    count: u64,
    /// A timespec in bytes; none waits for ever.
    timeout: Option<[u8; 16]>,
    /// The socket option that may say so as well.
    socket_limit: Option<i32>,
    /// The address and size of the set of signals that it blocks meanwhile; null for those of the task.
    mask: (u64, u64),
}

/// [`Watch::mask`] of calls that have none. The size is that of a set of signals.
const NO_MASK: (u64, u64) = (0, 8);

fn pollfd(fd: u64, events: i16) -> Vec<u8> {
    let mut bytes = (fd as i32).to_ne_bytes().to_vec();
    bytes.extend(events.to_ne_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn milliseconds(ms: i32) -> Option<[u8; 16]> {
    let ms = i64::from(ms);
    (ms >= 0).then(|| clocks::bytes(&timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 }))
}

impl Watch {
    /// The descriptors, and what of each is waited for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = (i32, i16)> + Clone {
        self.fds.chunks_exact(8).map(|one| {
            let fd = i32::from_ne_bytes([one[0], one[1], one[2], one[3]]);
            (fd, i16::from_ne_bytes([one[4], one[5]]))
        })
    }

    /// Whether other signals than the task's are blocked meanwhile.
    pub(super) fn has_mask(&self) -> bool {
        self.mask.0 != 0
    }
}

impl Recorder<'_> {
    /// What a call would have to wait for, if there are others to run meanwhile.
    pub(in crate::record) fn must_wait(
        &mut self,
        id: TaskId,
        description: &Description,
        call: &Call,
    ) -> Flow<Option<Watch>> {
        // What has a part of what it wants, or has waited for a part of its time, is not the kernel's to finish, even if no other
        // is left.
        let begun = call.got > 0 || call.deadline.is_some() || call.until.is_some();
        if self.alone() && !begun || call.wait != Waited::No {
            return Ok(None);
        }
        let args = call.args();
        let one = |fd: u64, events: i16, socket_limit| {
            let fds = pollfd(fd, events);
            Watch { fds, count: 1, timeout: None, socket_limit, mask: NO_MASK }
        };
        let (fd, events, option) = match description.block {
            Block::Never | Block::Inside | Block::Children => return Ok(None),
            Block::Readable(fd) => (args[fd], libc::POLLIN, libc::SO_RCVTIMEO),
            Block::Writable(fd) => (args[fd], libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Either(fd) => (args[fd], libc::POLLIN | libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Epoll => {
                let timeout = args[3] as i32;
                if timeout == 0 {
                    return Ok(None);
                }
                return Ok(Some(Watch {
                    timeout: milliseconds(timeout),
                    mask: if call.number() == libc::SYS_epoll_pwait as u64 {
                        (args[4], args[5])
                    } else {
                        NO_MASK
                    },
                    ..one(args[0], libc::POLLIN, None)
                }));
            }
            Block::EpollPwait2 => {
                let Some(timeout) = self.limit(id, args[3], 1) else { return Ok(None) };
                return Ok(Some(Watch {
                    timeout,
                    mask: (args[4], args[5]),
                    ..one(args[0], libc::POLLIN, None)
                }));
            }
            Block::Select => {
                let limit = self.limit(id, args[4], 1000);
                return Ok(self.select_watch(id, &args, limit));
            }
            Block::Pselect => {
                let limit = self.limit(id, args[4], 1);
                let watch = self.select_watch(id, &args, limit);
                let memory = &self.space(id).memory;
                let mask = match (args[5], memory.u64(args[5]), memory.u64(args[5] + 8)) {
                    (0, ..) => NO_MASK,
                    (_, Ok(set), Ok(size)) => (set, size),
                    _ => return Ok(None),
                };
                return Ok(watch.map(|watch| Watch { mask, ..watch }));
            }
            Block::Poll | Block::Ppoll => return self.poll_watch(id, description, &args),
        };
        let waits = !dont_wait(call)
            && self.is_waited_on(id, fd)
            && !fds::is_in_background(self.tasks[id].tid, fd)
            && self.asks_until(id, call)?.is_some();
        Ok(waits.then(|| one(fd, events, Some(option))))
    }

    fn poll_watch(&mut self, id: TaskId, description: &Description, args: &[u64; 6]) -> Flow<Option<Watch>> {
        let timeout = if description.block == Block::Poll {
            milliseconds(args[2] as i32)
        } else if args[2] == 0 {
            None
        } else {
            // An address that cannot be read: the kernel will say so.
            let Ok(bytes) = self.space(id).memory.bytes(args[2], 16) else { return Ok(None) };
            bytes.try_into().ok()
        };
        if timeout == Some([0; 16]) {
            return Ok(None);
        }
        if args[1] > scratch::MOST {
            return self.unsupported(id, "poll of more than 8000 descriptors");
        }
        let Ok(fds) = self.space(id).memory.bytes(args[0], args[1] as usize * 8) else { return Ok(None) };
        let mask = if description.block == Block::Ppoll { (args[3], args[4]) } else { NO_MASK };
        Ok(Some(Watch { fds, count: args[1], timeout, socket_limit: None, mask }))
    }

    /// The time limit at an address: seconds, and parts of a second in units of so many nanoseconds. The inner is none
    /// without a limit; the outer if the call does not wait, or is wrong, which the kernel will say.
    fn limit(&self, id: TaskId, address: u64, unit: i64) -> Option<Option<[u8; 16]>> {
        if address == 0 {
            return Some(None);
        }
        let at = clocks::timespec_at(&self.space(id).memory, address).ok()?;
        let parts = at.tv_nsec.checked_mul(unit).filter(|parts| *parts >= 0)?;
        let second = clocks::SECOND.cast_signed();
        let limit = timespec { tv_sec: at.tv_sec.checked_add(parts / second)?, tv_nsec: parts % second };
        (limit.tv_sec >= 0 && (limit.tv_sec, limit.tv_nsec) != (0, 0)).then(|| Some(clocks::bytes(&limit)))
    }

    /// What select(2) waits for.
    fn select_watch(
        &mut self,
        id: TaskId,
        args: &[u64; 6],
        limit: Option<Option<[u8; 16]>>,
    ) -> Option<Watch> {
        let timeout = limit?;
        // As poll(2) reports it: that a peer has hung up, it reports always.
        let sets = [(args[1], libc::POLLIN), (args[2], libc::POLLOUT), (args[3], libc::POLLPRI)];
        let room = descriptor_room(self.task(id).tid)?.min(scratch::MOST as usize);
        let count = usize::try_from(args[0] as i32).ok()?.min(room);
        let sets = sets.map(|(set, events)| {
            let bytes =
                if set == 0 { Vec::new() } else { self.space(id).memory.available(set, count.div_ceil(8)) };
            (bytes, events)
        });
        let events = |fd: usize| {
            let has = |set: &[u8]| set.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 != 0);
            sets.iter().filter(|(set, _)| has(set)).fold(0, |all, (_, events)| all | events)
        };
        let watched = (0..count).filter(|&fd| events(fd) != 0);
        let fds: Vec<u8> = watched.flat_map(|fd| pollfd(fd as u64, events(fd))).collect();
        Some(Watch { count: fds.len() as u64 / 8, fds, timeout, socket_limit: None, mask: NO_MASK })
    }

    /// Wait for what a call needs: a look first.
    pub(in crate::record) fn wait_for_descriptors(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        watch: &Watch,
    ) -> Flow<Next> {
        if call.until.is_none() {
            call.until = self.asks_until(id, &call)?.flatten();
        }
        let Some(copies) = self.copies(id, watch) else {
            return self.wait_in_kernel(id, stopped, call, watch);
        };
        if are_ready(&copies) {
            self.tasks.hold(id, Hold::Calling(stopped, Call { wait: Waited::Ready, ..call }));
            return Ok(Next::Continue);
        }
        let limit = match (watch.timeout, watch.socket_limit) {
            (Some(timeout), _) => Some(timeout),
            (None, Some(option)) => socket_limit(&copies, option).map(|limit| {
                clocks::bytes(&timespec {
                    tv_sec: limit.as_secs().cast_signed(),
                    tv_nsec: limit.subsec_nanos().into(),
                })
            }),
            (None, None) => None,
        };
        if self.is_interrupted(&call) {
            self.skip(id, stopped, &call, -i64::from(libc::EINTR), Vec::new())?;
            return Ok(Next::Decide(Why::Yielded, None));
        }
        if !self.watch_descriptors(id, copies) {
            return self.wait_in_kernel(id, stopped, call, watch);
        }
        call.restart = Some(restart_code(&call, limit.is_some()));
        if let Some(limit) = limit {
            still(&mut call, limit, self.clocks.now()?);
        }
        if let Some(deadline) = call.deadline {
            self.limit_wait(id, &call, deadline)?;
        }
        self.tasks.hold(id, Hold::Waiting(stopped, call));
        Ok(Next::Decide(Why::Blocked, None))
    }

    /// The same with the task's own means: it asks, and waits in the kernel.
    fn wait_in_kernel(&mut self, id: TaskId, stopped: Stopped, mut call: Call, watch: &Watch) -> Flow<Next> {
        let Some(base) = self.task(id).scratch else {
            return self.unsupported(id, "more than 2000 tasks at once");
        };
        self.space(id).memory.write(base + scratch::ZERO, &[0; 16])?;
        self.space(id).memory.write(base + scratch::FDS, &watch.fds)?;
        let mut registers = call.registers;
        registers.set_number(libc::SYS_ppoll as u64);
        let (set, set_size) = watch.mask;
        registers.set_args([base + scratch::FDS, watch.count, base + scratch::ZERO, set, set_size, 0]);
        stopped.set_registers(&registers)?;
        let (stopped, ready) = self.run_to_exit(id, stopped)?;
        call.restart = Some(restart_code(&call, watch.timeout.is_some()));
        if interrupted(ready) {
            self.tasks.hold(id, Hold::Again(stopped, call));
            return Ok(Next::Continue);
        }
        if ready != 0 {
            self.tasks.hold(id, Hold::Again(stopped, Call { wait: Waited::Ready, ..call }));
            return Ok(Next::Continue);
        }
        // Nothing yet: the same with the call's own time limit, in the kernel.
        let (stopped, timeout) = match (&watch.timeout, watch.socket_limit) {
            (Some(timeout), _) => (stopped, Some(*timeout)),
            (None, Some(option)) => match self.socket_limit(id, stopped, &call, option)? {
                Ok(limited) => limited,
                Err(next) => return Ok(next),
            },
            (None, None) => (stopped, None),
        };
        let timeout = match timeout {
            Some(timeout) => {
                call.restart = Some(restart_code(&call, true));
                let timeout = still(&mut call, timeout, self.clocks.now()?);
                self.space(id).memory.write(base + scratch::TIMEOUT, &timeout)?;
                base + scratch::TIMEOUT
            }
            None => 0,
        };
        registers.set_args([base + scratch::FDS, watch.count, timeout, set, set_size, 0]);
        let stopped = match self.reenter(id, stopped, &call, registers)? {
            Ok(stopped) => stopped,
            Err(next) => return Ok(next),
        };
        let running = stopped.resume(Resume::ToSyscallExit, 0)?;
        self.tasks.hold(id, Hold::InKernel(running, call));
        Ok(Next::Decide(Why::Blocked, None))
    }

    /// The time limit that a socket has for calls that block (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`), as a timespec.
    fn socket_limit(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        option: i32,
    ) -> Flow<Result<Limited, Next>> {
        let (stopped, value) = match self.socket_option(id, stopped, call, option)? {
            Ok((stopped, Some(value))) => (stopped, value),
            // What is no socket has no limit.
            Ok((stopped, None)) => return Ok(Ok((stopped, None))),
            Err(next) => return Ok(Err(next)),
        };
        // A timeval has the shape of a timespec, in microseconds.
        let limit = clocks::timespec_at(&self.space(id).memory, value)?;
        // A socket with a limit of zero has none.
        if (limit.tv_sec, limit.tv_nsec) == (0, 0) {
            return Ok(Ok((stopped, None)));
        }
        let timeout = timespec { tv_sec: limit.tv_sec, tv_nsec: limit.tv_nsec * 1000 };
        Ok(Ok((stopped, Some(clocks::bytes(&timeout)))))
    }

    /// Ask for an option of the socket that a call is about, in place of the call: the address in scratch memory that has
    /// its value, none if it is no socket. Unless a signal comes first, which has been seen to then.
    pub(in crate::record) fn socket_option(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        option: i32,
    ) -> Flow<Result<(Stopped, Option<u64>), Next>> {
        let Some(base) = self.task(id).scratch else { return Ok(Ok((stopped, None))) };
        let (value, len) = (base + scratch::TIMEOUT, base + scratch::ZERO);
        self.space(id).memory.write(len, &16_u32.to_ne_bytes())?;
        let mut registers = call.registers;
        registers.set_number(libc::SYS_getsockopt as u64);
        registers.set_args([call.args()[0], libc::SOL_SOCKET as u64, option as u64, value, len, 0]);
        let stopped = match self.reenter(id, stopped, call, registers)? {
            Ok(stopped) => stopped,
            Err(next) => return Ok(Err(next)),
        };
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        Ok(Ok((stopped, (result == 0).then_some(value))))
    }

    /// From the entry or exit of a call to the entry of the call that `registers` describe, at the same place of the
    /// program: `call` or one in its place. Unless a signal comes first, which has been seen to then.
    pub(in crate::record) fn reenter(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        mut registers: Registers,
    ) -> Flow<Result<Stopped, Next>> {
        /// Bytes of the `syscall` instruction.
        const SYSCALL: u64 = 2;
        registers.set_result(registers.number().cast_signed());
        registers.set_number(u64::MAX);
        registers.set_ip(registers.ip() - SYSCALL);
        stopped.set_registers(&registers)?;
        let (mut stopped, mut signal) = (stopped, 0);
        loop {
            let running = stopped.resume(Resume::Freely, std::mem::take(&mut signal))?;
            let stop;
            (stopped, stop) = self.wait(id, running)?;
            match stop {
                Stop::Seccomp => return Ok(Ok(stopped)),
                Stop::Signal(number) => match self.signal_in_call(id, stopped, number, call)? {
                    Ok(let_go) => (stopped, signal) = let_go,
                    Err(next) => return Ok(Err(next)),
                },
                Stop::Group(_) => {
                    return self.stopped_by_signal(id, stopped, Some(call.clone())).map(Err);
                }
                _ => {}
            }
        }
    }

    /// A task waited in the kernel in place of its call: back to the call's entry.
    pub(in crate::record) fn again(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        match self.reenter(id, stopped, &call, call.registers)? {
            Ok(stopped) => {
                self.tasks.hold(id, Hold::Calling(stopped, call));
                Ok(Next::Continue)
            }
            Err(next) => Ok(next),
        }
    }

    /// Whether no other task lives, so that the kernel may hold the core. In virtual time it must not: it knows no leaps.
    pub(in crate::record) fn alone(&self) -> bool {
        self.tasks.count() <= 1 && self.options.time == Time::Real
    }

    /// A call found nothing although its descriptors had been ready: wait again.
    pub(in crate::record) fn once_more(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        self.tasks.hold(id, Hold::Again(stopped, Call { wait: Waited::No, ..call }));
        Ok(Next::Continue)
    }

    /// The registers with which a call that has been waited for is made, so that it does not wait itself.
    pub(in crate::record) fn without_waiting(
        &mut self,
        id: TaskId,
        call: &Call,
        description: &Description,
    ) -> Flow<Option<Registers>> {
        if call.wait == Waited::No {
            return Ok(None);
        }
        let mut args = call.args();
        match description.block {
            Block::Poll => args[2] = 0,
            Block::Epoll => args[3] = 0,
            Block::Ppoll | Block::Select | Block::Pselect | Block::EpollPwait2 => {
                let Some(base) = self.task(id).scratch else { return Ok(None) };
                self.space(id).memory.write(base + scratch::ZERO, &[0; 16])?;
                let limit = match description.block {
                    Block::Ppoll => 2,
                    Block::EpollPwait2 => 3,
                    _ => 4,
                };
                args[limit] = base + scratch::ZERO;
            }
            // Those that are there: for more than one it would wait once more.
            Block::Readable(_) if call.number() == libc::SYS_recvmmsg as u64 => {
                args[3] |= libc::MSG_WAITFORONE as u64;
            }
            Block::Never
            | Block::Inside
            | Block::Children
            | Block::Readable(_)
            | Block::Writable(_)
            | Block::Either(_) => {
                return Ok(None);
            }
        }
        let mut registers = call.registers;
        registers.set_args(args);
        Ok(Some(registers))
    }
}

impl Recorder<'_> {
    /// What a call that has waited for descriptors says of the time that is left (select(2), "The self-modifying timeout").
    pub(in crate::record) fn rest(&self, id: TaskId, call: &Call) -> Flow<Option<Write>> {
        let (at, unit, deadline) = match describe(call.number()).map(|description| description.block) {
            Some(Block::Select) => (4, 1000, call.deadline),
            Some(Block::Pselect) => (4, 1, call.deadline),
            Some(Block::Ppoll) => (2, 1, call.deadline),
            // recvmmsg(2), which says nothing if it has nothing.
            Some(Block::Readable(_)) if call.got > 0 => (4, 1, call.until),
            _ => return Ok(None),
        };
        let address = call.args()[at];
        let Some(deadline) = deadline.filter(|_| address != 0) else { return Ok(None) };
        let left = clocks::timespec_of(deadline.saturating_sub(self.clocks.now()?));
        let left = timespec { tv_nsec: left.tv_nsec / unit, ..left };
        // Where the program cannot write, nothing is said.
        let bytes = clocks::bytes(&left).to_vec();
        let said = self.space(id).memory.put(self.tasks[id].tid, address, &bytes).is_ok();
        Ok(said.then_some(Write { address, bytes }))
    }
}

/// A stopped task, and a time limit as a timespec.
type Limited = (Stopped, Option<[u8; 16]>);

/// What is left of a call's time limit, which begins when it is first asked for.
fn still(call: &mut Call, limit: [u8; 16], now: u64) -> [u8; 16] {
    let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| limit[at + i]));
    let Some(limit) = clocks::nanoseconds(&timespec { tv_sec: number(0), tv_nsec: number(8) }) else {
        return limit;
    };
    let deadline = *call.deadline.get_or_insert(now.saturating_add(limit));
    clocks::bytes(&clocks::timespec_of(deadline.saturating_sub(now)))
}

/// The code with which the kernel ends this call when a signal comes (signal(7), "Interruption of system calls"): those
/// with a time limit are not restarted. One that has something already returns that.
fn restart_code(call: &Call, limited: bool) -> i64 {
    if call.got > 0 {
        return call.got.cast_signed();
    }
    let block = describe(call.number()).map(|description| description.block);
    let restarts =
        matches!(block, Some(Block::Readable(_) | Block::Writable(_) | Block::Either(_))) && !limited;
    if restarts { restart::RESTARTSYS } else { restart::RESTARTNOHAND }
}

/// Whether a call says itself that it must not wait.
fn dont_wait(call: &Call) -> bool {
    /// Calls, their arguments with flags, and the flag that says so.
    const FLAGS: &[(i64, usize, u32)] = &[
        (libc::SYS_recvfrom, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendto, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_recvmsg, 2, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendmsg, 2, libc::MSG_DONTWAIT as u32),
        (libc::SYS_recvmmsg, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_sendmmsg, 3, libc::MSG_DONTWAIT as u32),
        (libc::SYS_preadv2, 5, libc::RWF_NOWAIT as u32),
        (libc::SYS_pwritev2, 5, libc::RWF_NOWAIT as u32),
        (libc::SYS_vmsplice, 3, libc::SPLICE_F_NONBLOCK),
    ];
    let args = call.args();
    FLAGS.iter().any(|(number, at, flag)| *number as u64 == call.number() && args[*at] as u32 & flag != 0)
}
