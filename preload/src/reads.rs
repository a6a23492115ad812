//! Instructions that read what the program cannot determine: time-stamp counter, random numbers, identity of processor
//! and core.
//!
//! Each has been moved to a stub, which has the buffer's code do it and log the result. Here is how a stub names its
//! instruction, and how a read is represented in the log. The instructions are described in the Intel SDM, volume 2.

use crate::layout::{Entry, register};
use crate::processor::{Leaf, Processor};

/// What an instruction reads.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// rdtsc: the time-stamp counter.
    Counter = 0,
    /// rdtscp: the time-stamp counter, and the core's number.
    CounterAndCore = 1,
    /// rdrand, rdseed: a random number.
    Random = 2,
    /// rdpid: the core's number.
    Core = 3,
    /// cpuid.
    Processor = 4,
    /// xgetbv: the states that the processor manages.
    States = 5,
}

impl Read {
    /// All values, by number.
    pub const ALL: [Self; 6] =
        [Self::Counter, Self::CounterAndCore, Self::Random, Self::Core, Self::Processor, Self::States];

    /// From this number on, entries of the log are reads instead of calls.
    pub const NUMBERS: u16 = Entry::STREAM - 64;

    /// Returns the number of a log entry for this read.
    #[must_use]
    pub const fn number(self) -> u16 {
        Self::NUMBERS + self as u16
    }

    /// Returns the read whose log entries have this number.
    #[must_use]
    pub fn of_number(number: u64) -> Option<Self> {
        let number = u16::try_from(number).ok()?.checked_sub(Self::NUMBERS)?;
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the instruction's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "rdtsc",
            Self::CounterAndCore => "rdtscp",
            Self::Random => "rdrand",
            Self::Core => "rdpid",
            Self::Processor => "cpuid",
            Self::States => "xgetbv",
        }
    }

    /// Whether the result differs between two runs of the same program on the same machine.
    #[must_use]
    pub const fn varies(self) -> bool {
        matches!(self, Self::Counter | Self::CounterAndCore | Self::Random)
    }
}

/// An instruction, as its stub passes it in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What {
    /// What it reads.
    pub read: Read,
    /// The number of the register that gets the result, if it can be chosen.
    pub register: u8,
    /// Bytes of that register that are written: 2, 4 or 8.
    pub bytes: u8,
    /// Whether it is the dynamic linker's, which measures itself before the program's first instruction, for nobody.
    pub linker: bool,
}

impl What {
    /// Does to the general registers what the instruction does: `value` is what it reads, `more` what cpuid writes to
    /// its registers, or the core's number. Returns the flags.
    #[must_use]
    #[inline]
    pub fn finish(self, registers: &mut [u64; 16], flags: u64, value: u64, more: [u32; 4]) -> u64 {
        const LOW: u64 = 0xffff_ffff;
        /// Carry means that there was a random number; the other status flags are cleared.
        const CARRY: u64 = 1;
        const STATUS: u64 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 11;
        match self.read {
            Read::Counter | Read::CounterAndCore | Read::States => {
                registers[register::RAX] = value & LOW;
                registers[register::RDX] = value >> 32;
                if let Read::CounterAndCore = self.read {
                    registers[register::RCX] = more[0].into();
                }
            }
            Read::Processor => {
                let [eax, ebx, ecx, edx] = more;
                registers[register::RAX] = eax.into();
                registers[register::RBX] = ebx.into();
                registers[register::RCX] = ecx.into();
                registers[register::RDX] = edx.into();
            }
            Read::Core | Read::Random => {
                let register = &mut registers[usize::from(self.register & 0xf)];
                *register = match self.bytes {
                    2 => *register & !0xffff | value & 0xffff,
                    4 => value & LOW,
                    _ => value,
                };
            }
        }
        if let Read::Random = self.read { flags & !STATUS | CARRY } else { flags }
    }

    /// Encodes it as a word.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.read as u32 | (self.register as u32) << 4 | (self.bytes as u32) << 8 | (self.linker as u32) << 12
    }

    /// Decodes the word. A number that no stub has counts as a read of the counter.
    #[must_use]
    #[inline]
    pub fn of_word(word: u64) -> Self {
        let read = match word & 0xf {
            1 => Read::CounterAndCore,
            2 => Read::Random,
            3 => Read::Core,
            4 => Read::Processor,
            5 => Read::States,
            _ => Read::Counter,
        };
        let (register, bytes) = ((word >> 4 & 0xf) as u8, (word >> 8 & 0xf) as u8);
        Self { read, register, bytes, linker: word >> 12 & 1 == 1 }
    }
}

/// Returns what cpuid shows of a leaf and subleaf, from what it says on this machine.
#[must_use]
#[inline]
pub const fn shown(processor: Processor, leaf: u32, subleaf: u32, machine: Leaf) -> Leaf {
    same_on_all_cores(leaf, processor.cpuid(leaf, subleaf, machine))
}

/// Removes from cpuid's result (eax, ebx, ecx, edx) what differs between cores.
const fn same_on_all_cores(leaf: u32, [eax, ebx, ecx, edx]: Leaf) -> Leaf {
    match leaf {
        // The initial APIC id.
        1 => [eax, ebx & 0x00ff_ffff, ecx, edx],
        // The x2APIC id.
        0xb | 0x1f | 0x8000_0026 => [eax, ebx, ecx, 0],
        // AMD: the extended APIC id, the ids of compute unit and node.
        0x8000_001e => [0, ebx & !0xff, ecx & !0xff, edx],
        _ => [eax, ebx, ecx, edx],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_unique() {
        for read in Read::ALL {
            for (register, bytes, linker) in [(0, 8, false), (15, 2, true), (9, 4, false)] {
                let what = What { read, register, bytes, linker };
                assert_eq!(What::of_word(what.word().into()), what);
            }
            assert_eq!(Read::of_number(read.number().into()), Some(read));
            assert!(read.number() < Entry::STREAM);
        }
        assert_eq!(Read::of_number(0), None);
        assert_eq!(Read::of_number(u64::MAX), None);
    }

    #[test]
    fn cores_look_alike() {
        assert_eq!(same_on_all_cores(1, [1, 0x0702_0800, 3, 4]), [1, 0x0002_0800, 3, 4]);
        assert_eq!(same_on_all_cores(7, [1, 2, 3, 4]), [1, 2, 3, 4]);
    }
}
