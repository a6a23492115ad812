//! Several injected system calls in a single stop.

use super::remote::finish;
use crate::Error;
use crate::tracee::area::Area;
use crate::tracee::area::list::{ARGS, CALL, COPIES, TEXT};
use crate::tracee::area::shared::SCRATCH_LEN;
use crate::tracee::proc::Memory;
use crate::tracee::ptrace::{Registers, Stopped};

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A value.
    Value(u64),
    /// The result of the call with this number. At most two arguments can use the same result.
    ResultOf(usize),
    /// The address of a short text, which a NUL byte will end.
    Text(&'a str),
}

/// Calls that are made one after the other, even if earlier ones fail.
#[derive(Debug, Default)]
pub struct Batch {
    calls: Vec<[u8; CALL]>,
    texts: Vec<[u8; TEXT]>,
    /// The calls with texts, which stop in replay, and are checked there: the text is where the process cannot change it.
    checked: Vec<(u64, [u64; 6])>,
}

impl Batch {
    /// Returns for how many more calls there is room.
    #[must_use]
    pub fn room(&self) -> usize {
        let texts = Area::TEXTS_MOST - self.texts.len();
        (SCRATCH_LEN / CALL - self.calls.len()).min(texts)
    }

    /// Adds a call. Returns its number in the batch.
    ///
    /// # Panics
    /// If there is no room left, or a text is too long.
    pub fn push(&mut self, number: i64, args: [Arg<'_>; 6]) -> usize {
        let this = self.calls.len();
        assert!(self.room() > 0, "the batch is full");
        self.calls.push([0; CALL]);
        let mut values = [0; 6];
        let has_text = args.iter().any(|arg| matches!(arg, Arg::Text(_)));
        self.set(this, 0, number.cast_unsigned());
        for ((at, arg), value) in (ARGS..).zip(args).zip(&mut values) {
            match arg {
                Arg::Value(given) => *value = given,
                Arg::ResultOf(other) => self.copy_result(other, Self::address(this, at)),
                Arg::Text(text) => {
                    *value = Area::TEXTS + (self.texts.len() * TEXT) as u64;
                    let mut bytes = [0; TEXT];
                    bytes[..TEXT - 1][..text.len()].copy_from_slice(text.as_bytes());
                    self.texts.push(bytes);
                }
            }
            self.set(this, at, *value);
        }
        if has_text {
            self.checked.push((number.cast_unsigned(), values));
        }
        for copy in COPIES {
            self.set(this, copy, Self::address(this, 0));
        }
        this
    }

    /// Has the calls made, and returns their results. The task must stand as for [`remote`](super::remote::remote()),
    /// and stands like that afterwards.
    ///
    /// # Errors
    /// If the task dies; calls that fail are ordinary results (`-errno`).
    pub fn run(&self, task: Stopped, memory: &Memory, area: &Area) -> Result<(Stopped, Vec<i64>), Error> {
        if self.calls.is_empty() {
            return Ok((task, Vec::new()));
        }
        memory.write(Area::LIST, self.calls.as_flattened())?;
        area.set_texts(&self.texts);
        let mut registers = task.registers()?;
        registers.set_ip(Area::BATCH);
        registers.set_general(12, Area::LIST);
        registers.set_general(13, self.calls.len() as u64);
        registers.set_number(u64::MAX);
        task.set_registers(&registers)?;
        let mut checked = self.checked.iter();
        let is_asked_for = |stopped: &Registers| checked.next() == Some(&(stopped.number(), stopped.args()));
        let (task, _) = finish(task, is_asked_for, || "make system calls".into())?;
        let done = memory.bytes(Area::LIST, self.calls.len() * CALL)?;
        let result = |call: &[u8]| call.first_chunk().map_or(0, |word| i64::from_ne_bytes(*word));
        Ok((task, done.chunks_exact(CALL).map(result).collect()))
    }

    fn copy_result(&mut self, of: usize, to: u64) {
        let own = Self::address(of, 0).to_ne_bytes();
        let free = COPIES.into_iter().find(|copy| self.calls[of][copy * 8..][..8] == own);
        self.set(of, free.expect("a result goes to two at most"), to);
    }

    fn set(&mut self, call: usize, word: usize, value: u64) {
        self.calls[call][word * 8..][..8].copy_from_slice(&value.to_ne_bytes());
    }

    /// Returns the address of a word of a call in the driven process.
    fn address(call: usize, word: usize) -> u64 {
        Area::LIST + (call * CALL + word * 8) as u64
    }
}
