//! Names for the registers that system calls use.

use crate::trace::event::Registers;

/// Indices into [`Registers`], in the order of `struct user_regs_struct`.
mod index {
    pub(super) const R10: usize = 7;
    pub(super) const R9: usize = 8;
    pub(super) const R8: usize = 9;
    pub(super) const RBP: usize = 4;
    pub(super) const RAX: usize = 10;
    pub(super) const R11: usize = 6;
    pub(super) const RCX: usize = 11;
    pub(super) const RDX: usize = 12;
    pub(super) const RSI: usize = 13;
    pub(super) const RDI: usize = 14;
    pub(super) const ORIG_RAX: usize = 15;
    pub(super) const RIP: usize = 16;
    pub(super) const RSP: usize = 19;
}

/// Reading and writing registers by what they are for.
pub(crate) trait RegistersExt: Sized {
    fn from_kernel(regs: libc::user_regs_struct) -> Self;
    fn to_kernel(&self) -> libc::user_regs_struct;
    /// The instruction pointer.
    fn ip(&self) -> u64;
    fn set_ip(&mut self, ip: u64);
    /// The stack pointer.
    fn sp(&self) -> u64;
    /// The frame pointer, if the code keeps one.
    fn bp(&self) -> u64;
    /// At a system-call stop: the call's number.
    fn number(&self) -> u64;
    /// At a system-call stop: have another call made; -1 (as `u64::MAX`) for none.
    fn set_number(&mut self, number: u64);
    /// The arguments of a system call.
    fn args(&self) -> [u64; 6];
    fn set_args(&mut self, args: [u64; 6]);
    /// The result register.
    fn result(&self) -> i64;
    fn set_result(&mut self, result: i64);
    /// A digest of all that the program can see, but for the registers that the system-call instruction itself
    /// overwrites (rax, rcx, r11).
    fn digest(&self) -> u64;
}

impl RegistersExt for Registers {
    fn from_kernel(regs: libc::user_regs_struct) -> Self {
        // SAFETY: `user_regs_struct` is 27 `u64` in sequence (sys/user.h), so both types have the same layout.
        Self(unsafe { std::mem::transmute::<libc::user_regs_struct, [u64; 27]>(regs) })
    }

    fn to_kernel(&self) -> libc::user_regs_struct {
        // SAFETY: as above; every bit pattern is valid.
        unsafe { std::mem::transmute::<[u64; 27], libc::user_regs_struct>(self.0) }
    }

    fn ip(&self) -> u64 {
        self.0[index::RIP]
    }

    fn set_ip(&mut self, ip: u64) {
        self.0[index::RIP] = ip;
    }

    fn sp(&self) -> u64 {
        self.0[index::RSP]
    }

    fn bp(&self) -> u64 {
        self.0[index::RBP]
    }

    fn number(&self) -> u64 {
        self.0[index::ORIG_RAX]
    }

    fn set_number(&mut self, number: u64) {
        self.0[index::ORIG_RAX] = number;
    }

    fn args(&self) -> [u64; 6] {
        [index::RDI, index::RSI, index::RDX, index::R10, index::R8, index::R9].map(|i| self.0[i])
    }

    fn set_args(&mut self, args: [u64; 6]) {
        for (i, arg) in
            [index::RDI, index::RSI, index::RDX, index::R10, index::R8, index::R9].into_iter().zip(args)
        {
            self.0[i] = arg;
        }
    }

    fn result(&self) -> i64 {
        self.0[index::RAX].cast_signed()
    }

    fn set_result(&mut self, result: i64) {
        self.0[index::RAX] = result.cast_unsigned();
    }

    fn digest(&self) -> u64 {
        // FNV-1a over whole words: cheap, and any one changed register changes it.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (i, value) in self.0.iter().enumerate() {
            if !matches!(i, index::RAX | index::RCX | index::R11 | index::ORIG_RAX) {
                hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
            }
        }
        hash
    }
}
