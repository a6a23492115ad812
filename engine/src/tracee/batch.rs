//! Several system calls made by a driven process on our behalf, in a single stop.

use rrtest_preload::layout::SYS_INJECTED;

use crate::Error;
use crate::tracee::area::SCRATCH_LEN;
use crate::tracee::remote::finish;
use crate::tracee::{Area, Memory, Stopped, os};

/// Words of a call in the list: its number, which its result replaces; its arguments; where else its result goes.
const WORDS: usize = 9;

/// Which of them the arguments are.
const ARGS: usize = 1;

/// Which of them say where else the result goes.
const COPIES: [usize; 2] = [7, 8];

/// Bytes of text that a call can bring along.
const TEXT: usize = 40;

/// Bytes of a call in the list.
const CALL: usize = WORDS * 8 + TEXT;

/// The code that makes the calls of a list: r12 is where the next one is, r13 how many they are.
pub(super) const CODE: [u8; 72] = {
    let n = (SYS_INJECTED as u32).to_le_bytes();
    [
        0x49, 0x8b, 0x04, 0x24, // mov rax, [r12]
        0x49, 0x8b, 0x7c, 0x24, 0x08, // mov rdi, [r12 + 8]
        0x49, 0x8b, 0x74, 0x24, 0x10, // mov rsi, [r12 + 16]
        0x49, 0x8b, 0x54, 0x24, 0x18, // mov rdx, [r12 + 24]
        0x4d, 0x8b, 0x54, 0x24, 0x20, // mov r10, [r12 + 32]
        0x4d, 0x8b, 0x44, 0x24, 0x28, // mov r8, [r12 + 40]
        0x4d, 0x8b, 0x4c, 0x24, 0x30, // mov r9, [r12 + 48]
        0x0f, 0x05, // syscall
        0x49, 0x89, 0x04, 0x24, // mov [r12], rax
        0x49, 0x8b, 0x4c, 0x24, 0x38, // mov rcx, [r12 + 56]
        0x48, 0x89, 0x01, // mov [rcx], rax
        0x49, 0x8b, 0x4c, 0x24, 0x40, // mov rcx, [r12 + 64]
        0x48, 0x89, 0x01, // mov [rcx], rax
        0x49, 0x83, 0xc4, CALL as u8, // add r12, CALL
        0x49, 0xff, 0xcd, // dec r13
        0x75, 0xbf, // jnz to the start
        0xb8, n[0], n[1], n[2], n[3], // mov eax, SYS_INJECTED
        0x0f, 0x05, // syscall
    ]
};

/// Behind its instruction that makes a call.
pub(super) const CALLED: u64 = 36;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// This.
    Value(u64),
    /// What the call of this number has returned. At most two can have the same one's.
    ResultOf(usize),
    /// The address of a short text, which a NUL byte will end.
    Text(&'a str),
}

/// Calls to be made one after the other, whatever becomes of those before.
#[derive(Debug, Default)]
pub struct Batch(Vec<[u8; CALL]>);

impl Batch {
    /// How many more calls there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        SCRATCH_LEN / CALL - self.0.len()
    }

    /// Add a call. Its number in the batch.
    ///
    /// # Panics
    /// If there is no room left, or a text is too long.
    pub fn push(&mut self, number: i64, args: [Arg<'_>; 6]) -> usize {
        let this = self.0.len();
        assert!(self.room() > 0, "the batch is full");
        self.0.push([0; CALL]);
        self.set(this, 0, number.cast_unsigned());
        for (at, arg) in (ARGS..).zip(args) {
            match arg {
                Arg::Value(value) => self.set(this, at, value),
                Arg::ResultOf(other) => self.copy_result(other, Self::address(this, at)),
                Arg::Text(text) => {
                    self.0[this][WORDS * 8..][..text.len()].copy_from_slice(text.as_bytes());
                    self.set(this, at, Self::address(this, WORDS));
                }
            }
        }
        for copy in COPIES {
            self.set(this, copy, Self::address(this, 0));
        }
        this
    }

    /// Have them made, and give their results. The task must stand as for [`super::remote`], and stands like that
    /// afterwards.
    ///
    /// # Errors
    /// If the task dies; calls that fail are ordinary results (`-errno`).
    pub fn run(&self, task: Stopped, memory: &Memory) -> Result<(Stopped, Vec<i64>), Error> {
        if self.0.is_empty() {
            return Ok((task, Vec::new()));
        }
        memory.write(Area::LIST, self.0.as_flattened())?;
        let mut registers = task.registers()?;
        registers.set_ip(Area::BATCH);
        registers.set_general(12, Area::LIST);
        registers.set_general(13, self.0.len() as u64);
        registers.set_number(u64::MAX);
        task.set_registers(&registers)?;
        let (task, _) = finish(task, os("make system calls in a driven process"))?;
        let done = memory.bytes(Area::LIST, self.0.len() * CALL)?;
        let result = |call: &[u8]| call.first_chunk().map_or(0, |word| i64::from_ne_bytes(*word));
        Ok((task, done.chunks_exact(CALL).map(result).collect()))
    }

    fn copy_result(&mut self, of: usize, to: u64) {
        let own = Self::address(of, 0).to_ne_bytes();
        let free = COPIES.into_iter().find(|copy| self.0[of][copy * 8..][..8] == own);
        self.set(of, free.expect("a result goes to two at most"), to);
    }

    fn set(&mut self, call: usize, word: usize, value: u64) {
        self.0[call][word * 8..][..8].copy_from_slice(&value.to_ne_bytes());
    }

    /// Where a word of a call is, in the driven process.
    fn address(call: usize, word: usize) -> u64 {
        Area::LIST + (call * CALL + word * 8) as u64
    }
}
