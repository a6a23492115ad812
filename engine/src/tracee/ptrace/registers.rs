//! The general registers, by their purpose.

use rrtest_preload::reads::What;
use serde::{Deserialize, Serialize};

/// The general registers, in the order of `struct user_regs_struct` (`sys/user.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registers(pub [u64; 27]);

/// Indices into [`Registers`].
mod index {
    pub(super) const RBP: usize = 4;
    pub(super) const R11: usize = 6;
    pub(super) const R10: usize = 7;
    pub(super) const R9: usize = 8;
    pub(super) const R8: usize = 9;
    pub(super) const RAX: usize = 10;
    pub(super) const EFLAGS: usize = 18;
    pub(super) const RCX: usize = 11;
    pub(super) const RDX: usize = 12;
    pub(super) const RSI: usize = 13;
    pub(super) const RDI: usize = 14;
    pub(super) const ORIG_RAX: usize = 15;
    pub(super) const RIP: usize = 16;
    pub(super) const CS: usize = 17;
    pub(super) const RSP: usize = 19;
    /// From here on: fs_base, gs_base, ds, es, fs, gs.
    pub(super) const SEGMENT_BASES: usize = 21;

    /// The general registers, by the numbers that instructions have for them (Intel SDM, volume 2, 3.1.1.3).
    pub(super) const GENERAL: [usize; 16] =
        [RAX, RCX, RDX, 5, RSP, RBP, RSI, RDI, R8, R9, R10, R11, 3, 2, 1, 0];

    /// The names of all.
    pub(super) const NAMES: [&str; 27] = [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
        "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
    ];

    /// The registers that carry a system call's arguments.
    pub(super) const ARGS: [usize; 6] = [RDI, RSI, RDX, R10, R8, R9];
}

impl Registers {
    pub(super) fn from_kernel(regs: libc::user_regs_struct) -> Self {
        // SAFETY: `user_regs_struct` is 27 `u64` in sequence (sys/user.h), so both types have the same layout.
        Self(unsafe { std::mem::transmute::<libc::user_regs_struct, [u64; 27]>(regs) })
    }

    pub(super) fn to_kernel(self) -> libc::user_regs_struct {
        // SAFETY: as above; every bit pattern is valid.
        unsafe { std::mem::transmute::<[u64; 27], libc::user_regs_struct>(self.0) }
    }

    /// Returns the instruction pointer.
    #[must_use]
    pub fn ip(&self) -> u64 {
        self.0[index::RIP]
    }

    /// Sets the instruction pointer.
    pub fn set_ip(&mut self, ip: u64) {
        self.0[index::RIP] = ip;
    }

    /// Whether the task runs 64-bit code.
    #[must_use]
    pub fn is_64_bit(&self) -> bool {
        /// `__USER_CS` (arch/x86/include/asm/segment.h).
        const USER_CS: u64 = 0x33;
        self.0[index::CS] == USER_CS
    }

    /// Returns the stack pointer.
    #[must_use]
    pub fn sp(&self) -> u64 {
        self.0[index::RSP]
    }

    /// Returns the frame pointer, if the code keeps one.
    #[must_use]
    pub fn bp(&self) -> u64 {
        self.0[index::RBP]
    }

    /// At a system-call stop: returns the call's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0[index::ORIG_RAX]
    }

    /// At a system-call stop: replaces the call to be made; `u64::MAX` (-1) for none.
    pub fn set_number(&mut self, number: u64) {
        self.0[index::ORIG_RAX] = number;
    }

    /// Returns the arguments of a system call.
    #[must_use]
    pub fn args(&self) -> [u64; 6] {
        index::ARGS.map(|i| self.0[i])
    }

    /// Sets the arguments of a system call.
    pub fn set_args(&mut self, args: [u64; 6]) {
        for (i, arg) in index::ARGS.into_iter().zip(args) {
            self.0[i] = arg;
        }
    }

    /// Returns the result register.
    #[must_use]
    pub fn result(&self) -> i64 {
        self.0[index::RAX].cast_signed()
    }

    /// Sets the result register.
    pub fn set_result(&mut self, result: i64) {
        self.0[index::RAX] = result.cast_unsigned();
    }

    /// Returns the base of the segment in which thread-local storage is.
    #[must_use]
    pub fn fs_base(&self) -> u64 {
        self.0[index::SEGMENT_BASES]
    }

    /// Returns the base of the other segment that has one.
    #[must_use]
    pub fn gs_base(&self) -> u64 {
        self.0[index::SEGMENT_BASES + 1]
    }

    /// Returns a register by the number that gdb has for it (`features/i386/64bit-core.xml`): the general ones and the
    /// instruction pointer.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Option<u64> {
        use index::{R8, R9, R10, R11, RAX, RBP, RCX, RDI, RDX, RIP, RSI, RSP};
        const RBX: usize = 5;
        const ORDER: [usize; 17] =
            [RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8, R9, R10, R11, 3, 2, 1, 0, RIP];
        Some(self.0[*ORDER.get(usize::try_from(number).ok()?)?])
    }

    /// Returns rcx.
    #[must_use]
    pub fn rcx(&self) -> u64 {
        self.0[index::RCX]
    }

    /// Returns a general register, by its number in instructions.
    pub(in crate::tracee) fn general(&self, number: usize) -> u64 {
        self.0[index::GENERAL[number]]
    }

    pub(in crate::tracee) fn set_general(&mut self, number: usize, value: u64) {
        self.0[index::GENERAL[number]] = value;
    }

    pub(in crate::tracee) fn flags(&self) -> u64 {
        self.0[index::EFLAGS]
    }

    pub(in crate::tracee) fn set_flags(&mut self, flags: u64) {
        self.0[index::EFLAGS] = flags;
    }

    /// Does what an instruction of `len` bytes that reads this does, after a trap in place of its first byte was
    /// executed.
    pub fn finish_read(&mut self, what: What, len: u8, value: u64, more: [u32; 4]) {
        let mut registers = std::array::from_fn(|number| self.general(number));
        let flags = what.finish(&mut registers, self.flags(), value, more);
        for (number, register) in registers.into_iter().enumerate() {
            self.set_general(number, register);
        }
        self.set_flags(flags);
        self.set_ip(self.ip() - 1 + u64::from(len));
    }

    /// Returns the number of a general register, other than rcx, that differs from `other`'s.
    #[must_use]
    pub fn changed_since(&self, other: &Self) -> Option<u8> {
        (0..16_u8).find(|n| *n != 1 && self.general((*n).into()) != other.general((*n).into()))
    }

    /// Returns the program's own registers, without what a stop in the middle of user code leaves behind.
    #[must_use]
    pub fn of_user_code(mut self) -> Self {
        /// Set by single-stepping, and by the kernel to get past a breakpoint (Intel SDM, volume 3, 2.3).
        const TRAP_AND_RESUME: u64 = 1 << 8 | 1 << 16;
        self.set_flags(self.flags() & !TRAP_AND_RESUME);
        self.set_number(u64::MAX);
        self
    }

    /// Have a breakpoint at the instruction pointer not stop before that has been executed (Intel SDM, volume 3,
    /// 18.3.1.1).
    pub fn pass_breakpoint(&mut self) {
        const RESUME: u64 = 1 << 16;
        self.set_flags(self.flags() | RESUME);
    }

    /// Sets the status flags to what `lahf` and `seto al` have put into rax.
    pub fn set_status(&mut self, kept: u64) {
        /// The flags that lahf stores in ah; they are at the same places in the flags register's low byte.
        const LOW: u64 = 0b1101_0101;
        const OVERFLOW: u64 = 1 << 11;
        self.set_flags(self.flags() & !(LOW | OVERFLOW) | kept >> 8 & LOW | (kept & 1) << 11);
    }

    /// Stand behind the `syscall` instruction, at `site`, that ends a countdown, as if that had not come to its end:
    /// `kept` is what was in rax, `left` what is left of it. The flags are those of counting down (Intel SDM, volume
    /// 2, `DEC`).
    pub fn count_on(&mut self, site: u64, kept: u64, left: u64) {
        const PARITY: u64 = 1 << 2;
        const ADJUST: u64 = 1 << 4;
        const ZERO: u64 = 1 << 6;
        const SIGN: u64 = 1 << 7;
        const OVERFLOW: u64 = 1 << 11;
        let set = |holds: bool, flag| if holds { flag } else { 0 };
        let arithmetic = set((left as u8).count_ones().is_multiple_of(2), PARITY)
            | set(left & 0xf == 0xf, ADJUST)
            | set(left == 0, ZERO)
            | set(left >> 63 == 1, SIGN)
            | set(left == u64::MAX >> 1, OVERFLOW);
        self.set_flags(self.flags() & !(PARITY | ADJUST | ZERO | SIGN | OVERFLOW) | arithmetic);
        self.set_ip(site.wrapping_add(2));
        self.set_general(0, kept);
        self.set_number(u64::MAX);
    }

    /// Returns the registers to which rt_sigreturn(2) returns from the frame of a signal (`struct sigcontext_64` of
    /// `asm/sigcontext.h`, `restore_sigcontext` of arch/x86/kernel/signal_64.c). `context` are the bytes of that, of
    /// which there are [`Self::CONTEXT`].
    #[must_use]
    pub fn returned(mut self, context: &[u8; Self::CONTEXT]) -> Self {
        /// AC, OF, DF, TF, SF, ZF, AF, PF, CF, RF: those that a program may set (`FIX_EFLAGS`).
        const FLAGS: u64 =
            1 << 18 | 1 << 11 | 1 << 10 | 1 << 8 | 1 << 7 | 1 << 6 | 1 << 4 | 1 << 2 | 1 | 1 << 16;
        /// What the frame has, in its order.
        const ORDER: [usize; 17] = [
            index::R8,
            index::R9,
            index::R10,
            index::R11,
            index::GENERAL[12],
            index::GENERAL[13],
            index::GENERAL[14],
            index::GENERAL[15],
            index::RDI,
            index::RSI,
            index::RBP,
            index::GENERAL[3],
            index::RDX,
            index::RAX,
            index::RCX,
            index::RSP,
            index::RIP,
        ];
        let word = |number: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|byte| context[8 * number + byte]);
            u64::from_le_bytes(bytes)
        };
        for (number, index) in ORDER.into_iter().enumerate() {
            self.0[index] = word(number);
        }
        self.set_flags(self.flags() & !FLAGS | word(ORDER.len()) & FLAGS);
        self.set_number(u64::MAX);
        self
    }

    /// Offset in `struct ucontext` (asm-generic/ucontext.h) of the part of a frame that [`Self::returned`] reads.
    pub const CONTEXT_AT: u64 = 40;

    /// Bytes of the part of a frame that [`Self::returned`] reads.
    pub const CONTEXT: usize = 18 * 8;

    /// Take over the segment registers and bases of `other`.
    pub fn copy_segments(&mut self, other: &Self) {
        self.0[index::SEGMENT_BASES..].copy_from_slice(&other.0[index::SEGMENT_BASES..]);
    }

    /// Returns what the program can see at a call, of the system or of a function; the rest is 0. That is without the
    /// registers that the system-call instruction itself overwrites (rax, rcx, r11), and the flags that no compiler
    /// keeps across a call (System V ABI, AMD64 supplement, 3.2.1): some are undefined after an instruction, and differ
    /// between processors.
    #[must_use]
    pub fn kept(mut self) -> Self {
        /// CF, PF, AF, ZF, SF, OF; and RF, which says how the processor has got to the instruction.
        const LEFT_OUT: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11 | 1 << 16;
        for index in [index::RAX, index::RCX, index::R11, index::ORIG_RAX] {
            self.0[index] = 0;
        }
        self.set_flags(self.flags() & !LEFT_OUT);
        self
    }

    /// Returns the names of the registers that differ from `other`'s, each with the value here and there.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let pairs = self.0.into_iter().zip(other.0);
        index::NAMES
            .into_iter()
            .zip(pairs)
            .filter(|(_, (here, there))| here != there)
            .map(|(name, (here, there))| (name, here, there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_does_not_keep_is_left_out() {
        let mut registers = Registers([7; 27]);
        registers.set_flags(0x202);
        let kept = registers.kept();
        // What an addition leaves, or a page that was touched for the first time.
        registers.set_flags(0x202 | 0x8d5 | 1 << 16);
        registers.set_result(1);
        assert_eq!(registers.kept(), kept);
        // The direction of string instructions.
        registers.set_flags(0x602);
        registers.set_ip(8);
        let differences: Vec<_> = registers.kept().differences(&kept).collect();
        assert_eq!(differences, [("rip", 8, 7), ("eflags", 0x602, 0x202)]);
    }
}
