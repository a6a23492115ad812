//! Writes the outputs of emulated calls, and marks where tasks are.

use super::call::fails;
use super::tasks::Tasks;
use crate::clock::Clock;
use crate::record::step::Flow;
use crate::task::TaskId;
use crate::trace::event::{Registers, Write};

impl Tasks {
    /// Writes the output of an emulated call to `address` (nowhere if null), if that is writable. Returns the call's
    /// result and the write.
    pub(in crate::record) fn written(&self, id: TaskId, address: u64, bytes: Vec<u8>) -> (i64, Vec<Write>) {
        if address == 0 || bytes.is_empty() {
            return (0, Vec::new());
        }
        if self.space(id).memory.put(self[id].tid, address, &bytes).is_err() {
            return (fails(libc::EFAULT), Vec::new());
        }
        (0, vec![Write { address, bytes }])
    }

    /// Copies what a call has left at `address`.
    pub(in crate::record) fn copy(&self, id: TaskId, address: u64, len: usize) -> Flow<Write> {
        Ok(Write { address, bytes: self.space(id).memory.bytes(address, len)? })
    }

    /// Marks that replay can find a task at these registers: it has executed nothing since the last event.
    pub(in crate::record) fn mark(&mut self, clock: &Clock, id: TaskId, registers: &Registers) {
        self.task(id).boundary = clock.position(registers);
    }
}
