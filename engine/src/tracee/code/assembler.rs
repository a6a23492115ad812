//! An assembler for code at a known address. What it is given are instructions; their bytes are `iced_x86`'s affair.

use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};

/// Code that will be placed at `base`.
pub(super) struct Assembler {
    pub(super) base: u64,
    pub(super) code: Vec<u8>,
}

/// A jump to a place that is not known yet.
#[must_use]
pub(super) struct Forward {
    /// Where it ends.
    end: usize,
    /// How many bytes the distance has.
    bytes: usize,
}

/// Memory at an address near the code.
pub(super) fn near(address: u64) -> MemoryOperand {
    MemoryOperand::with_base_displ(Register::RIP, address.cast_signed())
}

/// Memory at an address below 2 GiB, from anywhere.
pub(super) fn low(address: u64) -> MemoryOperand {
    // Addresses of 64 bits: with fewer, a prefix would say so.
    MemoryOperand::with_displ(address, 8)
}

impl Assembler {
    pub(super) fn at(base: u64) -> Self {
        Self { base, code: Vec::new() }
    }

    /// Returns the address of the next instruction.
    pub(super) fn here(&self) -> u64 {
        self.base + self.code.len() as u64
    }

    /// Adds bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// Adds an instruction, adjusting what is relative to its address.
    ///
    /// # Errors
    /// If there is no such instruction, or what it refers to is too far away.
    pub(super) fn add(&mut self, instruction: Result<Instruction, IcedError>) -> Result<(), IcedError> {
        let mut encoder = Encoder::new(64);
        encoder.encode(&instruction?, self.here())?;
        self.bytes(&encoder.take_buffer());
        Ok(())
    }

    /// Adds an instruction without operands.
    pub(super) fn plain(&mut self, code: Code) -> Result<(), IcedError> {
        self.add(Ok(Instruction::with(code)))
    }

    /// Adds mov REGISTER, VALUE. Does not change the flags.
    pub(super) fn load(&mut self, register: Register, value: u64) -> Result<(), IcedError> {
        self.add(Instruction::with2(Code::Mov_r64_imm64, register, value))
    }

    /// Adds mov REGISTER, \[MEMORY\].
    pub(super) fn fetch(&mut self, register: Register, memory: MemoryOperand) -> Result<(), IcedError> {
        self.add(Instruction::with2(Code::Mov_r64_rm64, register, memory))
    }

    /// Adds mov \[MEMORY\], REGISTER.
    pub(super) fn store(&mut self, memory: MemoryOperand, register: Register) -> Result<(), IcedError> {
        self.add(Instruction::with2(Code::Mov_rm64_r64, memory, register))
    }

    /// Adds push REGISTER.
    pub(super) fn push(&mut self, register: Register) -> Result<(), IcedError> {
        self.add(Instruction::with1(Code::Push_r64, register))
    }

    /// Adds pop REGISTER.
    pub(super) fn pop(&mut self, register: Register) -> Result<(), IcedError> {
        self.add(Instruction::with1(Code::Pop_r64, register))
    }

    /// Adds a branch to an address.
    pub(super) fn branch(&mut self, code: Code, target: u64) -> Result<(), IcedError> {
        self.add(Instruction::with_branch(code, target))
    }

    /// Adds a branch to a place that is not known yet. Pass the result to [`Self::land`].
    pub(super) fn forward(&mut self, code: Code) -> Result<Forward, IcedError> {
        let start = self.code.len();
        self.branch(code, self.here())?;
        // What follows the opcode is the distance to its own beginning, for now.
        let len = self.code.len() - start;
        Ok(Forward { end: self.code.len(), bytes: if len > 2 { 4 } else { 1 } })
    }

    /// Lets a branch lead here. False if that is too far away.
    #[must_use]
    pub(super) fn land(&mut self, Forward { end, bytes }: Forward) -> bool {
        let distance = self.code.len() - end;
        let fits = if bytes == 1 { i8::try_from(distance).is_ok() } else { i32::try_from(distance).is_ok() };
        self.code[end - bytes..end].copy_from_slice(&distance.to_le_bytes()[..bytes]);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_bytes_are_those_that_are_meant() {
        const BASE: u64 = 0x7012_3480;
        let code = |add: &dyn Fn(&mut Assembler) -> Result<(), IcedError>| {
            let mut asm = Assembler::at(BASE);
            add(&mut asm).expect("an instruction");
            asm.code
        };
        // A jump of five bytes, even to where two would do.
        assert_eq!(code(&|asm| asm.branch(Code::Jmp_rel32_64, BASE + 5)), [0xe9, 0, 0, 0, 0]);
        assert_eq!(code(&|asm| asm.branch(Code::Jmp_rel32_64, BASE - 0x100)), [0xe9, 0xfb, 0xfe, 0xff, 0xff]);
        assert_eq!(code(&|asm| asm.load(Register::R11, 1)), [0x49, 0xbb, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(code(&|asm| asm.fetch(Register::RAX, near(BASE + 7))), [0x48, 0x8b, 0x05, 0, 0, 0, 0]);
        let low = low(0x7000_0010);
        assert_eq!(code(&|asm| asm.store(low, Register::RAX)), [0x48, 0x89, 0x04, 0x25, 0x10, 0, 0, 0x70]);
        assert_eq!(code(&|asm| asm.store(low, Register::R11)), [0x4c, 0x89, 0x1c, 0x25, 0x10, 0, 0, 0x70]);
        assert_eq!(code(&|asm| asm.plain(Code::Syscall)), [0x0f, 0x05]);
        let far = Assembler::at(BASE).branch(Code::Jmp_rel32_64, BASE + (1 << 32));
        assert!(far.is_err());
    }

    #[test]
    fn branches_lead_to_where_they_land() {
        let mut asm = Assembler::at(0x1000);
        let long = asm.forward(Code::Jne_rel32_64).unwrap();
        let short = asm.forward(Code::Jrcxz_rel8_64).unwrap();
        asm.bytes(&[0x90; 3]);
        assert!(asm.land(short) && asm.land(long));
        assert_eq!(asm.code, [0x0f, 0x85, 5, 0, 0, 0, 0xe3, 3, 0x90, 0x90, 0x90]);
        let short = asm.forward(Code::Jrcxz_rel8_64).unwrap();
        asm.bytes(&[0x90; 128]);
        assert!(!asm.land(short));
    }
}
