//! The places of new memory, which the kernel chooses: here they are anywhere.

use super::Surprises;
use crate::record::tree::call::Call;
use crate::trace::event::Registers;
use crate::tracee::PAGE;

/// Where new memory is placed: far below where the kernel begins, far above where programs lie.
const FROM: u64 = 0x7000_0000_0000;

/// Pages of the region in which it lies.
const PAGES: u64 = 1 << 24;

/// So many mappings are placed; the kernel places the others, next to each other, where they count as few.
const MOST: u32 = 4096;

/// Where new memory is placed.
#[derive(Clone, Copy, Debug)]
pub(in crate::record) struct Placement {
    seed: u64,
    left: u32,
}

impl Placement {
    pub(in crate::record) fn new(seed: u64) -> Self {
        Self { seed, left: MOST }
    }

    /// Returns the next place.
    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.seed = mixed(self.seed);
        Some(FROM + self.seed % PAGES * PAGE)
    }
}

impl Surprises {
    /// Returns registers with which mmap(2) maps memory elsewhere; `None` if the kernel is to choose, or the program
    /// has.
    pub(in crate::record) fn placed(&mut self, call: &Call) -> Option<Registers> {
        const CHOSEN: i32 = libc::MAP_FIXED | libc::MAP_32BIT | libc::MAP_HUGETLB;
        let mut args = call.args();
        let placement = self.placement.as_mut().filter(|_| args[0] == 0 && args[3] as i32 & CHOSEN == 0)?;
        args[0] = placement.next()?;
        let mut registers = call.registers;
        registers.set_args(args);
        Some(registers)
    }
}

/// A step of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators").
pub(super) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn places_are_pages_of_the_region_and_not_too_many() {
        let mut placement = Placement::new(7);
        let places: Vec<u64> = std::iter::from_fn(|| placement.next()).collect();
        assert!(places.iter().all(|at| at % PAGE == 0 && (FROM..FROM + PAGES * PAGE).contains(at)));
        assert_eq!(places.len(), MOST as usize);
        assert!(places.iter().collect::<BTreeSet<_>>().len() > places.len() - 10);
    }
}
