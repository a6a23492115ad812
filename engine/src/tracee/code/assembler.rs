//! Machine code in the making, for a known place.

use iced_x86::{Encoder, Instruction};

/// Code that is to stand at `base`.
pub(super) struct Assembler {
    pub(super) base: u64,
    pub(super) code: Vec<u8>,
}

impl Assembler {
    pub(super) fn at(base: u64) -> Self {
        Self { base, code: Vec::new() }
    }

    /// The address of what is emitted next.
    pub(super) fn here(&self) -> u64 {
        self.base + self.code.len() as u64
    }

    pub(super) fn emit(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// An instruction that ends with the distance to `address`.
    pub(super) fn relative(&mut self, opcode: &[u8], address: u64) {
        self.emit(opcode);
        let next = self.here() + 4;
        self.emit(&(address.wrapping_sub(next) as u32).to_le_bytes());
    }

    /// mov REGISTER, VALUE, with the register's number. The flags stay.
    pub(super) fn load(&mut self, register: u8, value: u64) {
        self.emit(&[0x48 | register >> 3, 0xb8 | register & 7]);
        self.emit(&value.to_le_bytes());
    }

    /// The same instruction as elsewhere: what it refers to relative to its place is still that. None if that is too far.
    pub(super) fn encode(&mut self, instruction: &Instruction) -> Option<()> {
        let mut encoder = Encoder::new(64);
        encoder.encode(instruction, self.here()).ok()?;
        self.emit(&encoder.take_buffer());
        Some(())
    }

    /// A jump that is taken unless equal, to a place not known yet: the result is to be given to [`Self::land`].
    pub(super) fn jump_unequal(&mut self) -> usize {
        self.emit(&[0x0f, 0x85, 0, 0, 0, 0]);
        self.code.len()
    }

    pub(super) fn land(&mut self, jump: usize) {
        let distance = (self.code.len() - jump) as u32;
        self.code[jump - 4..jump].copy_from_slice(&distance.to_le_bytes());
    }
}
