//! Calls that wait for a complete transfer: recv(2) with `MSG_WAITALL`, and recvmmsg(2).
//!
//! The kernel would keep such a call, and the core with it, until others have sent the rest. So it is made in parts,
//! each when data is available. What a part writes is logged at once, since others may see it before the call returns.

use crate::record::calls::outputs;
use crate::record::recorder::Recorder;
use crate::record::step::{Flow, Next};
use crate::record::tree::call::{Call, Outcome, Stage};
use crate::syscalls::Description;
use crate::task::TaskId;
use crate::tracee::Stopped;

/// How a call that waits for a complete transfer is split.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Whole {
    /// Bytes in memory of one unit of the result.
    size: u64,
    /// A flag that the parts must not have.
    flag: u64,
    /// Whether it waits on stream sockets only.
    streams: bool,
}

impl Whole {
    /// Returns `None` for calls that return what there is. `MSG_PEEK`, which does not consume data, cannot be split.
    pub(in crate::record) fn of(call: &Call) -> Option<Self> {
        /// Bytes of a `struct mmsghdr`.
        const MESSAGE: u64 = 64;
        let [_, _, count, flags, timeout, _] = call.args();
        let has = |flag: i32| flags & flag as u64 != 0;
        match call.number() as i64 {
            libc::SYS_recvfrom if has(libc::MSG_WAITALL) && !has(libc::MSG_PEEK) => {
                Some(Self { size: 1, flag: libc::MSG_WAITALL as u64, streams: true })
            }
            libc::SYS_recvmmsg if count > 1 && timeout == 0 && !has(libc::MSG_WAITFORONE) => {
                Some(Self { size: MESSAGE, flag: 0, streams: false })
            }
            _ => None,
        }
    }

    /// Returns the call for the data that is missing and available, at the same place of the program.
    fn rest(self, call: &Call) -> Call {
        let [fd, at, count, flags, from, from_len] = call.args();
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
        whole: Whole,
    ) -> Flow<Next> {
        let rest = whole.rest(&call);
        let mut goes_on = true;
        if whole.streams {
            let value;
            (stopped, value) = match self.socket_option(id, stopped, &call, libc::SO_TYPE)? {
                Ok(answer) => answer,
                Err(next) => return Ok(next),
            };
            let value = value.and_then(|value| self.tasks.space(id).memory.u32(value).ok());
            goes_on = value == Some(libc::SOCK_STREAM as u32);
        }
        let stopped = match self.reenter(id, stopped, &call, rest.registers)? {
            Ok(stopped) => stopped,
            Err(next) => return Ok(next),
        };
        let before = outputs::before(&self.tasks.space(id).memory, description, &rest.args());
        let (stopped, result) = self.run_to_exit(id, stopped)?;
        let writes = self.tasks.outputs(id, description, &rest, &before, result)?;

        let all = call.args()[2];
        let total = call.so_far(result);
        let too_late = result == -i64::from(libc::EAGAIN) && call.stage == Stage::Ready;
        if too_late || goes_on && result > 0 && total.cast_unsigned() < all {
            self.journal.note_arrival(&mut self.tasks, &self.clock, id);
            call.entered = true;
            self.journal.log_written(id, writes);
            call.got = total.max(0).cast_unsigned();
            return self.tasks.once_more(id, stopped, call);
        }
        let mut registers = stopped.registers()?;
        registers.set_args(call.args());
        registers.set_result(total);
        stopped.set_registers(&registers)?;
        self.conclude(id, stopped, &call, Outcome::new(total, writes))
    }
}
