//! An assembler for code at a known address.

use iced_x86::{Encoder, Instruction};

/// Code that will be placed at `base`.
pub(super) struct Assembler {
    pub(super) base: u64,
    pub(super) code: Vec<u8>,
}

impl Assembler {
    pub(super) fn at(base: u64) -> Self {
        Self { base, code: Vec::new() }
    }

    /// Returns the address of the next instruction.
    pub(super) fn here(&self) -> u64 {
        self.base + self.code.len() as u64
    }

    pub(super) fn emit(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// Emits an instruction that ends with the distance to `address`.
    pub(super) fn relative(&mut self, opcode: &[u8], address: u64) {
        self.emit(opcode);
        let next = self.here() + 4;
        self.emit(&(address.wrapping_sub(next) as u32).to_le_bytes());
    }

    /// Emits mov REGISTER, VALUE, with the register's number. Does not change the flags.
    pub(super) fn load(&mut self, register: u8, value: u64) {
        self.emit(&[0x48 | register >> 3, 0xb8 | register & 7]);
        self.emit(&value.to_le_bytes());
    }

    /// Emits an instruction of the program, adjusting what is relative to its address. Returns `None` if that is too
    /// far away.
    pub(super) fn encode(&mut self, instruction: &Instruction) -> Option<()> {
        let mut encoder = Encoder::new(64);
        encoder.encode(instruction, self.here()).ok()?;
        self.emit(&encoder.take_buffer());
        Some(())
    }

    /// Emits a jump if not equal, to a place that is not known yet. Pass the result to [`Self::land`].
    pub(super) fn jump_unequal(&mut self) -> usize {
        self.emit(&[0x0f, 0x85, 0, 0, 0, 0]);
        self.code.len()
    }

    pub(super) fn land(&mut self, jump: usize) {
        let distance = (self.code.len() - jump) as u32;
        self.code[jump - 4..jump].copy_from_slice(&distance.to_le_bytes());
    }
}
