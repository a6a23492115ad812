//! The machine on which a program was recorded, and whether this one can replay what it did.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rrtest_preload::processor::{Processor, machine_cpuid};
use serde::{Deserialize, Serialize};

use crate::tracee::StateLayout;

/// The machine on which a program was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor that the program saw, by its number.
    level: u8,
    /// The real processor's name.
    model: String,
    /// The kernel's release.
    kernel: String,
    /// What the program could execute: words of cpuid, in the order of [`WORDS`].
    features: [u32; WORDS.len()],
    /// How the processor lays out its vector registers.
    states: StateLayout,
}

/// Where cpuid tells of features: leaf, and number of the register among eax, ebx, ecx, edx.
const WORDS: [(u32, usize); 7] = [(1, 2), (1, 3), (7, 1), (7, 2), (7, 3), (0x8000_0001, 2), (0x8000_0001, 3)];

/// Features that come with instructions: word, bit, name (Intel SDM, volume 2, "CPUID"; AMD64 APM, volume 3, appendix
/// E). Those that every x86-64 processor has are left out, and those that replay does not execute (RDRAND, RDSEED,
/// RDPID).
#[rustfmt::skip]
const FEATURES: [(usize, u32, &str); 67] = [
    (0, 0, "SSE3"), (0, 1, "PCLMULQDQ"), (0, 9, "SSSE3"), (0, 12, "FMA"), (0, 13, "CMPXCHG16B"), (0, 19, "SSE4.1"),
    (0, 20, "SSE4.2"), (0, 22, "MOVBE"), (0, 23, "POPCNT"), (0, 25, "AES"), (0, 26, "XSAVE"), (0, 28, "AVX"),
    (0, 29, "F16C"),
    (2, 0, "FSGSBASE"), (2, 3, "BMI1"), (2, 4, "HLE"), (2, 5, "AVX2"), (2, 8, "BMI2"), (2, 11, "RTM"),
    (2, 16, "AVX512F"), (2, 17, "AVX512DQ"), (2, 19, "ADX"), (2, 21, "AVX512IFMA"),
    (2, 23, "CLFLUSHOPT"), (2, 24, "CLWB"), (2, 26, "AVX512PF"), (2, 27, "AVX512ER"), (2, 28, "AVX512CD"),
    (2, 29, "SHA"), (2, 30, "AVX512BW"), (2, 31, "AVX512VL"),
    (3, 0, "PREFETCHWT1"), (3, 1, "AVX512VBMI"), (3, 4, "OSPKE"), (3, 5, "WAITPKG"), (3, 6, "AVX512VBMI2"),
    (3, 7, "CET_SS"), (3, 8, "GFNI"), (3, 9, "VAES"), (3, 10, "VPCLMULQDQ"), (3, 11, "AVX512VNNI"),
    (3, 12, "AVX512BITALG"), (3, 14, "AVX512VPOPCNTDQ"), (3, 25, "CLDEMOTE"),
    (3, 27, "MOVDIRI"), (3, 28, "MOVDIR64B"),
    (4, 2, "AVX512_4VNNIW"), (4, 3, "AVX512_4FMAPS"), (4, 5, "UINTR"), (4, 8, "AVX512VP2INTERSECT"),
    (4, 14, "SERIALIZE"), (4, 16, "TSXLDTRK"), (4, 20, "CET_IBT"), (4, 22, "AMX-BF16"), (4, 23, "AVX512FP16"),
    (4, 24, "AMX-TILE"), (4, 25, "AMX-INT8"),
    (5, 0, "LAHF"), (5, 5, "LZCNT"), (5, 6, "SSE4A"), (5, 8, "PREFETCHW"), (5, 11, "XOP"), (5, 15, "LWP"),
    (5, 16, "FMA4"), (5, 21, "TBM"), (6, 30, "3DNow! extensions"), (6, 31, "3DNow!"),
];

/// What keeps this machine from replaying what another has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// The processor does not have these.
    Features(Vec<&'static str>),
    /// The program could see how its processor stores vector registers, which this one does otherwise.
    Layout,
}

impl Machine {
    /// Returns this machine, as a program sees it that is shown this processor.
    #[must_use]
    pub fn here(processor: Processor) -> Arc<Self> {
        // In a virtual machine, each cpuid leaves it.
        static MACHINES: [OnceLock<Arc<Machine>>; Processor::ALL.len()] = [const { OnceLock::new() }; _];
        let index = Processor::ALL.iter().position(|it| *it == processor).unwrap_or_default();
        let machine = MACHINES[index].get_or_init(|| {
            Arc::new(Self {
                level: processor as u8,
                model: model(),
                kernel: nix::sys::utsname::uname()
                    .map_or_else(|_| "unknown".to_owned(), |it| it.release().to_string_lossy().into_owned()),
                features: WORDS
                    .map(|(leaf, register)| processor.cpuid(leaf, 0, machine_cpuid(leaf, 0))[register]),
                states: StateLayout::here().clone(),
            })
        });
        Arc::clone(machine)
    }

    /// Returns the processor that the program saw. None if it is one that this version does not know.
    #[must_use]
    pub fn processor(&self) -> Option<Processor> {
        Processor::of(self.level)
    }

    /// Returns the real processor's name.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Returns the release of the kernel.
    #[must_use]
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// Returns how the processor lays out its vector registers.
    #[must_use]
    pub fn states(&self) -> &StateLayout {
        &self.states
    }

    /// Whether `here`, this machine's own processor, can execute what the program could.
    ///
    /// # Errors
    /// What it lacks.
    pub fn replays_on(&self, here: &Self) -> Result<(), Lacking> {
        let lacks = |(word, bit, _): &&(usize, u32, &str)| {
            (self.features[*word] & !here.features[*word]) >> *bit & 1 == 1
        };
        let names: Vec<_> = FEATURES.iter().filter(lacks).map(|(.., name)| *name).collect();
        if !names.is_empty() {
            return Err(Lacking::Features(names));
        }
        if self.processor() == Some(Processor::Native) && self.states != here.states {
            return Err(Lacking::Layout);
        }
        Ok(())
    }
}

/// Returns the processor's name: cpuid's brand string.
fn model() -> String {
    const FIRST: u32 = 0x8000_0002;
    if machine_cpuid(0x8000_0000, 0)[0] < FIRST + 2 {
        return "unknown".to_owned();
    }
    let words = (0..3).flat_map(|leaf| machine_cpuid(FIRST + leaf, 0));
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.processor() {
            Some(Processor::Native) => write!(f, "{}", self.model)?,
            Some(level) => write!(f, "x86-64-{} on {}", level.as_str(), self.model)?,
            None => write!(f, "a processor of level {} on {}", self.level, self.model)?,
        }
        write!(f, ", Linux {}", self.kernel)
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Names given at most.
        const MOST: usize = 6;
        match self {
            Self::Features(names) => {
                write!(f, "needs {}", names[..names.len().min(MOST)].join(", "))?;
                match names.len().saturating_sub(MOST) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Layout => f.write_str("needs a processor that stores its vector registers in the same way"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_replays_what_it_has_recorded() {
        for processor in Processor::ALL {
            let machine = Machine::here(processor);
            assert_eq!(machine.replays_on(&Machine::here(Processor::Native)), Ok(()));
            assert_eq!(machine.processor(), Some(processor));
        }
    }

    #[test]
    fn what_is_lacking_is_named() {
        let here = Machine { level: 2, features: [1 << 20, 0, 0, 0, 0, 0, 0], ..Machine::default() };
        let there = |features| Machine { level: 3, features, ..Machine::default() };
        assert_eq!(there([1 << 20, 0, 0, 0, 0, 0, 0]).replays_on(&here), Ok(()));
        let lacking = there([1 << 20 | 1 << 28, 0, 1 << 5 | 1 << 16, 0, 0, 0, 0]).replays_on(&here);
        let names = vec!["AVX", "AVX2", "AVX512F"];
        assert_eq!(lacking, Err(Lacking::Features(names)));
        // Bits that come with no instruction: that there are several cores, that there is a hypervisor.
        assert_eq!(there([1 << 31, 1 << 28, 0, 0, 0, 0, 0]).replays_on(&here), Ok(()));
        let all = Machine { features: [u32::MAX; 7], ..Machine::default() };
        let words = all.replays_on(&here).map_err(|lacking| lacking.to_string());
        assert_eq!(
            words,
            Err("needs SSE3, PCLMULQDQ, SSSE3, FMA, CMPXCHG16B, SSE4.1 and 60 more".to_owned())
        );
    }
}
