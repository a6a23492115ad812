//! Calls that may have to wait for a descriptor.
//!
//! The kernel must not write into a program's memory while other tasks run. So a call that would block is not left in
//! the kernel. Its task waits at the call's entry while the recorder polls, or in an injected ppoll(2) on the same
//! descriptors, which writes to scratch memory only. It makes its call when it has the core again.

use libc::timespec;

use crate::record::kernel::fds;
use crate::record::options::{Options, Time};
use crate::record::poller::{DescriptorWatch, Poller, are_ready, socket_limit};
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::{self, Clocks};
use crate::record::tree::call::{Call, Outcome, Stage, interrupted, restart};
use crate::record::tree::slots::scratch;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::syscalls::{Block, Description, describe};
use crate::task::TaskId;
use crate::trace::event::{Registers, Write};
use crate::tracee::{Resume, Stop, Stopped, descriptor_room};

/// [`DescriptorWatch::mask`] of calls without a mask. The size is that of a signal set.
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

impl Poller {
    /// Returns what a call would have to wait for, if other tasks could run meanwhile.
    pub(in crate::record) fn must_wait(
        &mut self,
        options: &Options<'_>,
        tasks: &mut Tasks,
        id: TaskId,
        description: &Description,
        call: &Call,
    ) -> Flow<Option<DescriptorWatch>> {
        // A call that has a part of its data, or has used a part of its time, cannot be left to the kernel even if no
        // other task is left.
        let begun = call.got > 0 || call.deadline.is_some() || call.until.is_some();
        if tasks.alone(options) && !begun || call.has_waited() {
            return Ok(None);
        }
        let args = call.args();
        let one = |fd: u64, events: i16, socket_limit| {
            let fds = pollfd(fd, events);
            DescriptorWatch { fds, count: 1, timeout: None, socket_limit, mask: NO_MASK }
        };
        let (fd, events, option) = match description.block {
            Block::Never | Block::InKernel | Block::Children => return Ok(None),
            Block::Readable(fd) => (args[fd], libc::POLLIN, libc::SO_RCVTIMEO),
            Block::Writable(fd) => (args[fd], libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Either(fd) => (args[fd], libc::POLLIN | libc::POLLOUT, libc::SO_SNDTIMEO),
            Block::Epoll => {
                let timeout = args[3] as i32;
                if timeout == 0 {
                    return Ok(None);
                }
                return Ok(Some(DescriptorWatch {
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
                let Some(timeout) = tasks.limit(id, args[3], 1) else { return Ok(None) };
                return Ok(Some(DescriptorWatch {
                    timeout,
                    mask: (args[4], args[5]),
                    ..one(args[0], libc::POLLIN, None)
                }));
            }
            Block::Select => {
                let limit = tasks.limit(id, args[4], 1000);
                return Ok(tasks.select_watch(id, &args, limit));
            }
            Block::Pselect => {
                let limit = tasks.limit(id, args[4], 1);
                let watch = tasks.select_watch(id, &args, limit);
                let memory = &tasks.space(id).memory;
                let mask = match (args[5], memory.u64(args[5]), memory.u64(args[5] + 8)) {
                    (0, ..) => NO_MASK,
                    (_, Ok(set), Ok(size)) => (set, size),
                    _ => return Ok(None),
                };
                return Ok(watch.map(|watch| DescriptorWatch { mask, ..watch }));
            }
            Block::Poll | Block::Ppoll => return tasks.poll_watch(id, description, &args),
        };
        let waits = !dont_wait(call)
            && self.is_waited_on(tasks, id, fd)
            && !fds::is_in_background(tasks[id].tid, fd)
            && tasks.asks_for(id, call).is_some();
        Ok(waits.then(|| one(fd, events, Some(option))))
    }
}

impl Tasks {
    fn poll_watch(
        &mut self,
        id: TaskId,
        description: &Description,
        args: &[u64; 6],
    ) -> Flow<Option<DescriptorWatch>> {
        let timeout = if description.block == Block::Poll {
            milliseconds(args[2] as i32)
        } else if args[2] == 0 {
            None
        } else {
            // The kernel reports an unreadable address.
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
        Ok(Some(DescriptorWatch { fds, count: args[1], timeout, socket_limit: None, mask }))
    }

    /// Reads the time limit at an address: seconds, and a fraction in units of `unit` ns. The inner `None` means no
    /// limit; the outer that the call does not wait, or has an error that the kernel will report.
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

    /// Returns what select(2) waits for.
    fn select_watch(
        &mut self,
        id: TaskId,
        args: &[u64; 6],
        limit: Option<Option<[u8; 16]>>,
    ) -> Option<DescriptorWatch> {
        let timeout = limit?;
        // In terms of poll(2), which always reports that a peer has hung up.
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
        Some(DescriptorWatch { count: fds.len() as u64 / 8, fds, timeout, socket_limit: None, mask: NO_MASK })
    }

    /// Whether no other task lives, so that the kernel may keep the core. Never in virtual time, of which the kernel
    /// knows nothing.
    pub(in crate::record) fn alone(&self, options: &Options<'_>) -> bool {
        self.count() <= 1 && options.time == Time::Real
    }

    /// Lets a call wait again that found nothing although its descriptors had been ready.
    pub(in crate::record) fn once_more(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        self.hold(id, Hold::Again(stopped, Call { stage: Stage::Due, ..call }));
        Ok(Next::Continue)
    }

    /// Returns registers with which a call that has waited does not wait again.
    pub(in crate::record) fn without_waiting(
        &mut self,
        id: TaskId,
        call: &Call,
        description: &Description,
    ) -> Flow<Option<Registers>> {
        if !call.has_waited() {
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
            // It takes what is there: for more than one message it would wait again.
            Block::Readable(_) if call.number() == libc::SYS_recvmmsg as u64 => {
                args[3] |= libc::MSG_WAITFORONE as u64;
            }
            Block::Never
            | Block::InKernel
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
    /// Lets a call wait for its descriptors. Returns the call if they are ready.
    pub(in crate::record) fn wait_for_descriptors(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        watch: &DescriptorWatch,
    ) -> Flow<Result<(Stopped, Call), Next>> {
        if call.until.is_none()
            && let Some(Some(limit)) = self.tasks.asks_for(id, &call)
        {
            call.until = Some(self.time.clocks.now()?.saturating_add(limit));
        }
        let Some(copies) = self.poller.copies(&self.tasks, id, watch) else {
            return self.wait_in_kernel(id, stopped, call, watch).map(Err);
        };
        if are_ready(&copies) {
            return Ok(Ok((stopped, Call { stage: Stage::Ready, ..call })));
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
        if self.surprises.is_interrupted(&self.scheduler, id, &call) {
            self.skip(id, stopped, &call, Outcome::fails(libc::EINTR))?;
            return Ok(Err(Next::Decide(Why::Yielded, None)));
        }
        if !self.poller.watch_descriptors(id, copies) {
            return self.wait_in_kernel(id, stopped, call, watch).map(Err);
        }
        call.restart = Some(restart_code(&call, limit.is_some()));
        if let Some(limit) = limit {
            still(&mut call, limit, self.time.clocks.now()?);
        }
        if let Some(deadline) = call.deadline {
            self.limit_wait(id, &call, deadline)?;
        }
        self.tasks.hold(id, Hold::Waiting(stopped, call));
        Ok(Err(Next::Decide(Why::Blocked, None)))
    }

    /// Lets a task itself wait for the descriptors, with ppoll(2) in the kernel.
    fn wait_in_kernel(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        mut call: Call,
        watch: &DescriptorWatch,
    ) -> Flow<Next> {
        let Some(base) = self.tasks.task(id).scratch else {
            return self.tasks.unsupported(id, "more than 2000 tasks at once");
        };
        self.tasks.space(id).memory.write(base + scratch::ZERO, &[0; 16])?;
        self.tasks.space(id).memory.write(base + scratch::FDS, &watch.fds)?;
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
            self.tasks.hold(id, Hold::Again(stopped, Call { stage: Stage::Ready, ..call }));
            return Ok(Next::Continue);
        }
        // Nothing is ready yet: call ppoll(2) again, now with the call's own time limit.
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
                let timeout = still(&mut call, timeout, self.time.clocks.now()?);
                self.tasks.space(id).memory.write(base + scratch::TIMEOUT, &timeout)?;
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

    /// Returns a socket's time limit for blocking calls (socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`), as a timespec.
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
        // A timeval has the layout of a timespec, in microseconds.
        let limit = clocks::timespec_at(&self.tasks.space(id).memory, value)?;
        // A zero limit means none.
        if (limit.tv_sec, limit.tv_nsec) == (0, 0) {
            return Ok(Ok((stopped, None)));
        }
        let timeout = timespec { tv_sec: limit.tv_sec, tv_nsec: limit.tv_nsec * 1000 };
        Ok(Ok((stopped, Some(clocks::bytes(&timeout)))))
    }

    /// Queries an option of the socket of a call, in place of the call. Returns the address in scratch memory of the
    /// value; `None` if it is no socket. If a signal comes first, it has been handled.
    pub(in crate::record) fn socket_option(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        option: i32,
    ) -> Flow<Result<(Stopped, Option<u64>), Next>> {
        let Some(base) = self.tasks.task(id).scratch else { return Ok(Ok((stopped, None))) };
        let (value, len) = (base + scratch::TIMEOUT, base + scratch::ZERO);
        self.tasks.space(id).memory.write(len, &16_u32.to_ne_bytes())?;
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

    /// Takes a task from the entry or exit of a call to the entry of the call described by `registers`, which is `call`
    /// or one in its place, at the same place of the program. If a signal comes first, it has been handled.
    pub(in crate::record) fn reenter(
        &mut self,
        id: TaskId,
        stopped: Stopped,
        call: &Call,
        mut registers: Registers,
    ) -> Flow<Result<Stopped, Next>> {
        /// Length of the `syscall` instruction.
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
                    return self
                        .futexes
                        .stopped_by_signal(
                            &mut self.tasks,
                            &mut self.poller,
                            &self.time.clocks,
                            id,
                            stopped,
                            Some(call.clone()),
                        )
                        .map(Err);
                }
                _ => {}
            }
        }
    }

    /// Takes a task that waited in the kernel in place of its call back to the call's entry.
    pub(in crate::record) fn again(&mut self, id: TaskId, stopped: Stopped, call: Call) -> Flow<Next> {
        match self.reenter(id, stopped, &call, call.registers)? {
            Ok(stopped) => {
                self.tasks.hold(id, Hold::Calling(stopped, call));
                Ok(Next::Continue)
            }
            Err(next) => Ok(next),
        }
    }
}

impl Clocks {
    /// Writes the time left after a call has waited for descriptors (select(2), "The self-modifying timeout").
    pub(in crate::record) fn rest(&self, tasks: &Tasks, id: TaskId, call: &Call) -> Flow<Option<Write>> {
        let (at, unit, deadline) = match describe(call.number()).map(|description| description.block) {
            Some(Block::Select) => (4, 1000, call.deadline),
            Some(Block::Pselect) => (4, 1, call.deadline),
            Some(Block::Ppoll) => (2, 1, call.deadline),
            // recvmmsg(2), which writes nothing if it has nothing.
            Some(Block::Readable(_)) if call.got > 0 => (4, 1, call.until),
            _ => return Ok(None),
        };
        let address = call.args()[at];
        let Some(deadline) = deadline.filter(|_| address != 0) else { return Ok(None) };
        let left = clocks::timespec_of(deadline.saturating_sub(self.now()?));
        let left = timespec { tv_nsec: left.tv_nsec / unit, ..left };
        // If the program's memory is not writable there, nothing is written.
        let bytes = clocks::bytes(&left).to_vec();
        let said = tasks.space(id).memory.put(tasks[id].tid, address, &bytes).is_ok();
        Ok(said.then_some(Write { address, bytes }))
    }
}

/// A stopped task, and a time limit as a timespec.
type Limited = (Stopped, Option<[u8; 16]>);

/// Returns what is left of a call's time limit, which begins when it is first asked for.
fn still(call: &mut Call, limit: [u8; 16], now: u64) -> [u8; 16] {
    let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|i| limit[at + i]));
    let Some(limit) = clocks::nanoseconds(&timespec { tv_sec: number(0), tv_nsec: number(8) }) else {
        return limit;
    };
    let deadline = *call.deadline.get_or_insert(now.saturating_add(limit));
    clocks::bytes(&clocks::timespec_of(deadline.saturating_sub(now)))
}

/// Returns the code with which the kernel would end this call for a signal (signal(7), "Interruption of system calls"):
/// calls with a time limit are not restarted. A call that has transferred something returns that.
fn restart_code(call: &Call, limited: bool) -> i64 {
    if call.got > 0 {
        return call.got.cast_signed();
    }
    let block = describe(call.number()).map(|description| description.block);
    let restarts =
        matches!(block, Some(Block::Readable(_) | Block::Writable(_) | Block::Either(_))) && !limited;
    if restarts { restart::RESTARTSYS } else { restart::RESTARTNOHAND }
}

/// Whether a call's flags say that it must not wait.
fn dont_wait(call: &Call) -> bool {
    /// Calls, the index of their flags, and the flag.
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
