//! Random numbers that stay the same across versions and platforms: integers only.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(Xoshiro256PlusPlus);

impl Random {
    /// Creates the streams of a seed, one for each purpose: how much one is used does not affect the others.
    pub(super) fn streams<const N: usize>(seed: u64) -> [Self; N] {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        std::array::from_fn(|_| {
            let stream = Self(generator.clone());
            generator.jump();
            stream
        })
    }

    /// Draws any number.
    pub(super) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Draws a number less than `bound`; 0 if `bound` is 0. (Multiply and shift: the bias is below `bound` / 2^64.)
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.any()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// Returns true `times` out of `of` times.
    pub(super) fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    /// Picks one of the items. Returns `None` if there are none.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.index(items.len())).copied()
    }

    /// Draws an index less than `len`; 0 if `len` is 0.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If these change, printed seeds no longer reproduce.
    #[test]
    fn the_numbers_of_a_seed_are_fixed() {
        let [mut order, mut wakes] = Random::streams(1);
        let order = [(); 3].map(|()| order.below(1000));
        let wakes = [(); 3].map(|()| wakes.below(1000));
        assert_eq!((order, wakes), ([811, 747, 100], [855, 538, 781]));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_below_it() {
        let [mut random] = Random::streams(2);
        let mut seen = [0; 7];
        for _ in 0..7000 {
            seen[random.index(7)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u32>(&[]), None);
    }
}
