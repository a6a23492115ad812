//! Calls that wait for a complete transfer: recv(2) with `MSG_WAITALL`, and recvmmsg(2).
//!
//! The kernel would keep such a call, and the core with it, until others have sent the rest. So it is made in parts,
//! each when data is available. What a part writes is logged at once, since others may see it before the call returns.
//!
//! The time limit of recvmmsg(2) does not end a wait: when it is over, the call takes what comes next, and no more.

use crate::record::calls::outputs;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::time::clocks;
use crate::record::tree::call::{Call, Outcome, Stage, fails};
use crate::record::tree::slots::scratch;
use crate::record::tree::tasks::Tasks;
use crate::syscalls::Description;
use crate::task::TaskId;
use crate::tracee::Stopped;

/// How a call that waits for a complete transfer is split.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct WaitAll {
    /// Bytes in memory of one unit of the result.
    size: u64,
    /// A flag that the parts must not have.
    flag: u64,
    /// What it goes on for once it has something.
    goes_on: GoesOn,
}

/// What a call that has something goes on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoesOn {
    /// The rest, if it reads from a stream.
    InStreams,
    /// The rest.
    Always,
    /// Nothing.
    Never,
}

impl WaitAll {
    /// Returns `None` for calls that return what there is. `MSG_PEEK`, which does not consume data, cannot be split.
    pub(in crate::record) fn of(call: &Call) -> Option<Self> {
        /// Bytes of a `struct mmsghdr`.
        const MESSAGE: u64 = 64;
        let [_, _, count, flags, timeout, _] = call.args();
        let has = |flag: i32| flags & flag as u64 != 0;
        match call.number() as i64 {
            libc::SYS_recvfrom if has(libc::MSG_WAITALL) && !has(libc::MSG_PEEK) => {
                Some(Self { size: 1, flag: libc::MSG_WAITALL as u64, goes_on: GoesOn::InStreams })
            }
            libc::SYS_recvmmsg if count > 1 && !has(libc::MSG_WAITFORONE) => {
                Some(Self { size: MESSAGE, flag: 0, goes_on: GoesOn::Always })
            }
            libc::SYS_recvmmsg if timeout != 0 => {
                Some(Self { size: MESSAGE, flag: 0, goes_on: GoesOn::Never })
            }
            _ => None,
        }
    }

    /// Returns the call for the data that is missing and available, at the same place of the program. The time limit
    /// that it names is not the program's.
    fn rest(self, call: &Call) -> Call {
        let [fd, at, count, flags, from, from_len] = call.args();
        let from = if call.until.is_some() { 0 } else { from };
        let flags = flags & !self.flag | libc::MSG_DONTWAIT as u64;
        let mut rest = call.clone();
        let at = at.wrapping_add(call.got * self.size);
        rest.registers.set_args([fd, at, count - call.got, flags, from, from_len]);
        rest
    }
}

impl Call {
    /// Returns the call's result if its last part returns `result`.
    pub(in crate::record) fn so_far(&self, result: i64) -> i64 {
        if self.got == 0 { result } else { self.got.cast_signed() + result.max(0) }
    }
}

impl Recorder<'_> {
    /// Makes a part of a call that waits for a complete transfer, as something is ready.
    pub(in crate::record) fn receive_whole(
        &mut self,
        id: TaskId,
        mut stopped: Stopped,
        mut call: Call,
        description: &Description,
        wait_all: WaitAll,
    ) -> Flow<Next> {
        let rest = wait_all.rest(&call);
        let mut goes_on = wait_all.goes_on != GoesOn::Never;
        if wait_all.goes_on == GoesOn::InStreams {
            let value;
            (stopped, value) = match self.socket_option(id, stopped, &call, libc::SO_TYPE)? {
                Ok(answer) => answer,
                Err(next) => return Ok(next),
            };
            let value = value.and_then(|value| self.tasks.space(id).memory.u32(value).ok());
            goes_on = value == Some(libc::SOCK_STREAM as u32);
        }
        let mut registers = rest.registers;
        if let Some(until) = call.until {
            let Some(base) = self.tasks[id].scratch else {
                return self.tasks.unsupported(id, "more than 2000 tasks at once");
            };
            let left = clocks::timespec_of(until.saturating_sub(self.time.clocks.now()?));
            self.tasks.space(id).memory.write(base + scratch::TIMEOUT, &clocks::bytes(&left))?;
            let [fd, at, count, flags, _, _] = rest.args();
            registers.set_args([fd, at, count, flags, base + scratch::TIMEOUT, 0]);
        }
        let stopped = match self.reenter(id, stopped, &call, registers)? {
            Ok(stopped) => stopped,
            Err(next) => return Ok(next),
        };
        let before = outputs::before(&self.tasks.space(id).memory, description, &rest.args());
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        let (stopped, result) = self.time.tell_times(&self.tasks, id, stopped, &rest, result)?;
        let mut writes = self.tasks.outputs(id, description, &rest, &before, result)?;

        let all = call.args()[2];
        let mut total = call.so_far(result);
        let too_late = result == fails(libc::EAGAIN) && call.stage == Stage::Ready;
        let in_time = match call.until {
            Some(until) => self.time.clocks.now()? < until,
            None => true,
        };
        call.got = total.max(0).cast_unsigned();
        if too_late || goes_on && in_time && result > 0 && call.got < all {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
            call.entered = true;
            self.journal.log_written(id, writes);
            return self.tasks.once_more(id, stopped, call);
        }
        if call.until.is_some() && total > 0 {
            match self.time.clocks.rest(&self.tasks, id, &call)? {
                Some(said) => writes.push(said),
                None => total = fails(libc::EFAULT),
            }
        }
        let mut registers = stopped.registers()?;
        registers.set_args(call.args());
        registers.set_result(total);
        stopped.set_registers(&registers)?;
        self.conclude(id, stopped, &call, Outcome::new(total, writes))
    }
}

impl Tasks {
    /// Returns for how long, in ns, a call asks for more than it has: the inner `None` is without a limit, the outer
    /// one if the limit is not valid, so that the kernel has to say so at once.
    pub(in crate::record) fn asks_for(&self, id: TaskId, call: &Call) -> Option<Option<u64>> {
        let limit = call.args()[4];
        if call.number() != libc::SYS_recvmmsg as u64 || limit == 0 {
            return Some(None);
        }
        let limit = clocks::timespec_at(&self.space(id).memory, limit).ok()?;
        clocks::nanoseconds(&limit).map(Some)
    }
}
