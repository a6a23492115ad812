//! The processor that a recorded program sees.
//!
//! A trace replays on another processor only if the program has executed no instruction that is not there. So cpuid and xgetbv
//! show a *virtual* one: of one of the levels of the x86-64 psABI (section 3.1.1), or the machine's own. What is more than that level
//! has is left out; what the machine does not have, no level adds. What is left out is what user code could execute, and what
//! tells of it. Sizes of caches, the name of the processor and the like stay the machine's: they are recorded.
//!
//! Leaves and bits are those of the Intel SDM, volume 2, "CPUID", and of the AMD64 APM, volume 3, appendix E.

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

/// A virtual processor.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// SSE4.2 and POPCNT, without AVX: Nehalem (2008), Bulldozer (2011) and all later ones.
    #[default]
    V2 = 2,
    /// AVX2, BMI and FMA: Haswell (2013), Excavator (2015) and most later ones.
    V3 = 3,
    /// AVX-512: servers since Skylake (2017), Zen 4 (2022) and later ones.
    V4 = 4,
    /// The machine's.
    Native = 0,
}

/// Registers that cpuid writes: eax, ebx, ecx, edx.
pub type Leaf = [u32; 4];

/// A set of feature bits from their numbers.
const fn bits<const N: usize>(numbers: [u32; N]) -> u32 {
    let (mut set, mut at) = (0, 0);
    while at < N {
        set |= 1 << numbers[at];
        at += 1;
    }
    set
}

/// Leaf 1, ecx: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; and that there is a hypervisor.
const LEAF_1_ECX: u32 = bits([0, 9, 13, 19, 20, 23, 31]);
/// The same at level 3: PCLMULQDQ, FMA, MOVBE, AES, XSAVE, OSXSAVE, AVX, F16C. All processors of that level have PCLMULQDQ and AES.
const LEAF_1_ECX_V3: u32 = bits([1, 12, 22, 25, 26, 27, 28, 29]);
/// Leaf 7, ebx: string operations are fast (ERMS), which changes no result.
const LEAF_7_EBX: u32 = bits([9]);
/// The same at level 3: BMI1, AVX2, BMI2.
const LEAF_7_EBX_V3: u32 = bits([3, 5, 8]);
/// The same at level 4: AVX512F, DQ, CD, BW, VL.
const LEAF_7_EBX_V4: u32 = bits([16, 17, 28, 30, 31]);
/// Leaf 7, edx: short ones are, too (FSRM).
const LEAF_7_EDX: u32 = bits([4]);
/// Leaf 0x8000_0001, ecx: LAHF and SAHF; that there are several cores, and how they are numbered.
const EXTENDED_ECX: u32 = bits([0, 1, 22]);
/// The same at level 3: LZCNT.
const EXTENDED_ECX_V3: u32 = bits([5]);
/// Leaf 0x8000_0001, edx: 3DNow! and its extensions, and AMD's of MMX, are left out.
const EXTENDED_EDX: u32 = !bits([22, 30, 31]);

/// Extended control register 0 (SDM, volume 1, 13.3): x87, SSE, AVX; and AVX-512's three.
const XCR0_V3: u32 = bits([0, 1, 2]);
const XCR0_V4: u32 = XCR0_V3 | bits([5, 6, 7]);

/// Bytes that are to be kept free for xsave. It stores all that the machine has enabled and the program asks for, whatever cpuid
/// says, and the dynamic linker asks for all: so this is the size of AVX-512's states and PKRU on the processors that need most,
/// even where it is replayed on one that stores more than the one on which it was recorded.
const XSAVE_SIZE: u32 = 2816;

impl Processor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V2, Self::V3, Self::V4, Self::Native];

    /// Its name, as users write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::Native => "native",
        }
    }

    /// That with a number; of no other number.
    #[must_use]
    #[inline]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Native),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            4 => Some(Self::V4),
            _ => None,
        }
    }

    const fn has(self, level: u8) -> bool {
        self as u8 >= level
    }

    /// What the program gets to see where the machine's processor says this of a leaf and subleaf.
    #[must_use]
    #[inline]
    pub const fn cpuid(self, leaf: u32, subleaf: u32, machine: Leaf) -> Leaf {
        if let Self::Native = self {
            return machine;
        }
        let [eax, ebx, ecx, edx] = machine;
        let (v3, v4) = (self.has(3), self.has(4));
        match (leaf, subleaf) {
            (1, _) => [eax, ebx, ecx & (LEAF_1_ECX | if v3 { LEAF_1_ECX_V3 } else { 0 }), edx],
            (7, 0) => {
                let more = if v3 { LEAF_7_EBX_V3 } else { 0 } | if v4 { LEAF_7_EBX_V4 } else { 0 };
                // Without subleaves.
                [0, ebx & (LEAF_7_EBX | more), 0, edx & LEAF_7_EDX]
            }
            (0xd, 0) if v3 && eax & self.xcr0() != 0 => [eax & self.xcr0(), XSAVE_SIZE, XSAVE_SIZE, 0],
            // XSAVEOPT and XSAVEC, which store another layout, and supervisor states are left out.
            (0xd, 1) if v3 => [0; 4],
            (0xd, component) if v3 && component < 32 && self.xcr0() >> component & 1 == 1 => machine,
            // Features of AVX and later; performance counters and tracing; SGX; AMX; AVX10.
            (7 | 0xa | 0xd | 0x12 | 0x14 | 0x19 | 0x1d | 0x1e | 0x24, _) => [0; 4],
            (0x8000_0001, _) => {
                let ecx = ecx & (EXTENDED_ECX | if v3 { EXTENDED_ECX_V3 } else { 0 });
                [eax, ebx, ecx, edx & EXTENDED_EDX]
            }
            // AMD: CLZERO, RDPRU and the like.
            (0x8000_0008, _) => [eax, 0, ecx, edx],
            (0x8000_000a | 0x8000_001b | 0x8000_001c | 0x8000_0021, _) => [0; 4],
            _ => machine,
        }
    }

    /// The states that it manages (`XCR0`), as far as the machine does.
    const fn xcr0(self) -> u32 {
        if self.has(4) { XCR0_V4 } else { XCR0_V3 }
    }

    /// The same for xgetbv with 0 or 1 in ecx: the states that are enabled, or in use.
    #[must_use]
    #[inline]
    pub const fn xgetbv(self, machine: u64) -> u64 {
        if let Self::Native = self { machine } else { machine & self.xcr0() as u64 }
    }
}

/// What the machine's cpuid says of a leaf and subleaf.
#[must_use]
#[inline]
pub fn machine_cpuid(leaf: u32, subleaf: u32) -> Leaf {
    let it = __cpuid_count(leaf, subleaf);
    [it.eax, it.ebx, it.ecx, it.edx]
}

/// What the machine's xgetbv says with 0 or 1 in ecx. Where the system does not use xsave, so that the instruction is not there,
/// x87 and SSE.
#[must_use]
#[inline]
pub fn machine_xgetbv(number: u32) -> u64 {
    /// Leaf 1, ecx: the system uses xsave.
    const OSXSAVE: u32 = 1 << 27;
    const X87_AND_SSE: u64 = 3;
    if machine_cpuid(1, 0)[2] & OSXSAVE == 0 {
        return X87_AND_SSE;
    }
    let (low, high): (u32, u32);
    // SAFETY: the instruction is there, and only reads. Others than 0 and 1 would raise a fault.
    unsafe {
        asm!("xgetbv", in("ecx") number & 1, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

impl core::fmt::Display for Processor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::str::FromStr for Processor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or("it is none of v2, v3, v4, native")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Leaf = [u32::MAX; 4];

    fn has(leaf: Leaf, register: usize, bit: u32) -> bool {
        leaf[register] >> bit & 1 == 1
    }

    #[test]
    fn a_level_has_what_the_psabi_says() {
        // Leaf, register, bit, the first level that has it.
        let features = [
            (1, 2, 0, 2),
            (1, 2, 9, 2),
            (1, 2, 13, 2),
            (1, 2, 19, 2),
            (1, 2, 20, 2),
            (1, 2, 23, 2),
            (0x8000_0001, 2, 0, 2),
            (1, 2, 12, 3),
            (1, 2, 22, 3),
            (1, 2, 27, 3),
            (1, 2, 28, 3),
            (1, 2, 29, 3),
            (7, 1, 3, 3),
            (7, 1, 5, 3),
            (7, 1, 8, 3),
            (0x8000_0001, 2, 5, 3),
            (7, 1, 16, 4),
            (7, 1, 17, 4),
            (7, 1, 28, 4),
            (7, 1, 30, 4),
            (7, 1, 31, 4),
        ];
        for (leaf, register, bit, first) in features {
            for level in [Processor::V2, Processor::V3, Processor::V4] {
                let shown = has(level.cpuid(leaf, 0, ALL), register, bit);
                assert_eq!(
                    shown,
                    level as u8 >= first,
                    "{level}: leaf {leaf:#x}, register {register}, bit {bit}"
                );
            }
        }
    }

    #[test]
    fn what_no_level_has_is_hidden() {
        // RDRAND; FSGSBASE, HLE, RTM, RDSEED, ADX, SHA; 3DNow!, XOP, FMA4.
        let hidden = [(1, 2, 30), (7, 1, 0), (7, 1, 4), (7, 1, 11), (7, 1, 18), (7, 1, 19), (7, 1, 29)];
        let more = [(0x8000_0001, 3, 31), (0x8000_0001, 2, 11), (0x8000_0001, 2, 16), (7, 3, 24), (7, 2, 8)];
        for (leaf, register, bit) in hidden.into_iter().chain(more) {
            assert!(
                !has(Processor::V4.cpuid(leaf, 0, ALL), register, bit),
                "leaf {leaf:#x}, {register}, {bit}"
            );
        }
        assert_eq!(Processor::V4.cpuid(7, 1, ALL), [0; 4]);
        assert_eq!(Processor::V4.cpuid(0x1d, 0, ALL), [0; 4]);
    }

    #[test]
    fn no_level_adds_anything() {
        for level in Processor::ALL {
            for leaf in [0, 1, 4, 7, 0xd, 0x8000_0001, 0x8000_0008] {
                assert_eq!(level.cpuid(leaf, 0, [0; 4]), [0; 4]);
            }
            assert_eq!(level.xgetbv(3), 3);
        }
    }

    #[test]
    fn the_machines_own_is_shown_as_it_is() {
        for leaf in [1, 7, 0xd, 0x14, 0x8000_0008] {
            assert_eq!(Processor::Native.cpuid(leaf, 0, ALL), ALL);
        }
        assert_eq!(Processor::Native.xgetbv(u64::MAX), u64::MAX);
    }

    #[test]
    fn states_are_those_of_the_level() {
        assert_eq!(Processor::V2.cpuid(0xd, 0, ALL), [0; 4]);
        assert_eq!(Processor::V3.cpuid(0xd, 0, ALL), [7, XSAVE_SIZE, XSAVE_SIZE, 0]);
        assert_eq!(Processor::V4.cpuid(0xd, 0, ALL)[0], 0xe7);
        assert_eq!(Processor::V3.cpuid(0xd, 5, ALL), [0; 4]);
        assert_eq!(Processor::V4.cpuid(0xd, 5, ALL), ALL);
        assert_eq!(Processor::V3.xgetbv(u64::MAX), 7);
    }

    #[test]
    fn names_and_numbers_are_read_back() {
        for level in Processor::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(Processor::of(level as u8), Some(level));
        }
        assert!("v1".parse::<Processor>().is_err());
        assert_eq!(Processor::of(1), None);
    }
}
