//! Calls that may have to wait for a descriptor.
//!
//! The kernel must not write into a program's memory while other tasks run. So a call that would block is not left in
//! the kernel. Its task waits at the call's entry while the recorder polls, or in an injected ppoll(2) on the same
//! descriptors, which writes to scratch memory only. It makes its call when it has the core again.

use libc::timespec;

use crate::record::options::{Options, Time};
use crate::record::poller::{are_ready, socket_limit};
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks::{self, Clocks};
use crate::record::tree::call::{Call, Outcome, Stage, interrupted, restart};
use crate::record::tree::descriptor_watch::DescriptorWatch;
use crate::record::tree::slots::scratch;
use crate::record::tree::task::Hold;
use crate::record::tree::tasks::Tasks;
use crate::schedule::Why;
use crate::syscalls::{Block, Description, describe};
use crate::task::TaskId;
use crate::trace::event::{Registers, Write};
use crate::tracee::{Resume, Stop, Stopped};

impl Tasks {
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
