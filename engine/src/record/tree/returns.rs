//! How a call returns, whether the kernel has made it or it was left out, and what is logged of it.

use super::call::fails;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::record::step::Flow;
use crate::task::TaskId;
use crate::trace::event::{Registers, Write};

impl Tasks {
    /// Bytes that an emulated call gives out at `address` (nowhere if that is null): the call's result and what it
    /// writes. They are checked to be writable here.
    pub(in crate::record) fn written(&self, id: TaskId, address: u64, bytes: Vec<u8>) -> (i64, Vec<Write>) {
        if address == 0 || bytes.is_empty() {
            return (0, Vec::new());
        }
        if self.space(id).memory.put(self[id].tid, address, &bytes).is_err() {
            return (fails(libc::EFAULT), Vec::new());
        }
        (0, vec![Write { address, bytes }])
    }

    /// What is at `address`, as a call has left it.
    pub(in crate::record) fn copy(&self, id: TaskId, address: u64, len: usize) -> Flow<Write> {
        Ok(Write { address, bytes: self.space(id).memory.bytes(address, len)? })
    }

    /// Replay can find a task at these registers: it has executed nothing since the last event.
    pub(in crate::record) fn mark(&mut self, clock: &Clock, id: TaskId, registers: &Registers) {
        self.task(id).boundary = clock.position(registers);
    }
}
