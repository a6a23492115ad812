//! Which strategy an attempt uses: a rotation, so that users need not choose.
//!
//! A printed seed must be all it takes to make an attempt's decisions again. So an attempt's seed says everything: it
//! is composed ([`seed`]) of a code for the strategy, the rough number of ticks that earlier attempts had, and random
//! bits, and [`plan`] takes it apart again:
//!
//! ```text
//! bits 63–60  strategy: 1 fair, 2 walk, 3 pct; else not said: the other bits choose from the rotation
//! bits 59–54  1 + the logarithm of the expected ticks to the base 2, rounded up; 0 unknown
//! bits 53–0   random
//! ```
//!
//! A small number that somebody makes up is a seed too. Seeds hold for one version of rrtest; a trace holds longer.

use super::random::Random;
use super::strategy::{Plan, StrategyName};

/// The strategies in turn.
///
/// On the simulated programs of this room's tests the walk fails more often on all but those where one task must be
/// very late: these are the ones that priorities find, within a few attempts, so that every third attempt suffices.
pub const ROTATION: [StrategyName; 3] = [StrategyName::Walk, StrategyName::Pct, StrategyName::Walk];

/// The strategies that have a code, from 1 on. Only ever append.
const CODES: [StrategyName; 3] = [StrategyName::Fair, StrategyName::Walk, StrategyName::Pct];

const CODE_SHIFT: u32 = 60;
const TICKS_SHIFT: u32 = 54;
const TICKS_MASK: u64 = 0x3f;
const RANDOM_MASK: u64 = (1 << TICKS_SHIFT) - 1;

/// The seed of attempt number `attempt` (from 0) of a campaign that has the seed `campaign`.
///
/// The rotation keeps to the strategies in `allowed`; none means all of [`ROTATION`]. `expected_ticks` are those of an
/// earlier attempt, 0 if there was none.
#[must_use]
pub fn seed(campaign: u64, attempt: u64, allowed: &[StrategyName], expected_ticks: u64) -> u64 {
    let rotation = rotation(allowed);
    let index = usize::try_from(attempt % rotation.len() as u64).unwrap_or(0);
    let code = 1 + CODES.iter().position(|strategy| *strategy == rotation[index]).unwrap_or(0) as u64;
    let ticks = match expected_ticks {
        0 => 0,
        ticks => 1 + u64::from(ticks.checked_next_power_of_two().unwrap_or(1 << 63).ilog2()),
    };
    // By way of the generator, so that campaigns 1 and 2 have nothing in common.
    let [mut campaign_stream] = Random::streams(campaign);
    let [mut attempt_stream] = Random::streams(campaign_stream.any().wrapping_add(attempt));
    code << CODE_SHIFT | ticks.min(TICKS_MASK) << TICKS_SHIFT | attempt_stream.any() & RANDOM_MASK
}

/// The plan that a seed stands for.
///
/// With `allowed` not empty it keeps to these strategies. A seed that [`seed`] made for an allowed strategy, or with none
/// given, always yields the plan of that attempt.
#[must_use]
pub fn plan(seed: u64, allowed: &[StrategyName]) -> Plan {
    let code = usize::try_from(seed >> CODE_SHIFT).unwrap_or(0);
    let said = code.checked_sub(1).and_then(|index| CODES.get(index)).copied();
    let strategy =
        said.filter(|strategy| allowed.is_empty() || allowed.contains(strategy)).unwrap_or_else(|| {
            // Not the numbers that the strategy itself will draw.
            let [_, _, mut stream] = Random::streams(seed);
            let rotation = rotation(allowed);
            rotation[stream.index(rotation.len())]
        });
    let expected_ticks = match seed >> TICKS_SHIFT & TICKS_MASK {
        0 => 0,
        log => 1 << (log - 1),
    };
    Plan { strategy, seed, expected_ticks }
}

/// [`ROTATION`] without the strategies not allowed; those allowed that it does not have come at its end. Not empty.
fn rotation(allowed: &[StrategyName]) -> Vec<StrategyName> {
    if allowed.is_empty() {
        return ROTATION.to_vec();
    }
    let mut rotation: Vec<_> = ROTATION.into_iter().filter(|strategy| allowed.contains(strategy)).collect();
    rotation.extend(allowed.iter().filter(|strategy| !ROTATION.contains(strategy)));
    rotation
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_says_all_about_its_attempt() {
        for strategy in StrategyName::ALL {
            for (expected, rounded) in [(0, 0), (1, 1), (522, 1024), (1024, 1024), (u64::MAX, 1 << 62)] {
                let seed = seed(7, 3, &[strategy], expected);
                let plan = plan(seed, &[]);
                assert_eq!((plan.strategy, plan.expected_ticks, plan.seed), (strategy, rounded, seed));
                assert_eq!(super::plan(seed, &[strategy]), plan);
                assert_eq!(super::plan(seed, &StrategyName::ALL), plan);
            }
        }
    }

    #[test]
    fn attempts_rotate() {
        let strategies: Vec<_> = (0..6).map(|attempt| plan(seed(1, attempt, &[], 0), &[]).strategy).collect();
        assert_eq!(strategies, ROTATION.repeat(2));
        let only = [StrategyName::Pct, StrategyName::Fair];
        let strategies: Vec<_> =
            (0..4).map(|attempt| plan(seed(1, attempt, &only, 0), &only).strategy).collect();
        assert_eq!(strategies, only.repeat(2));
    }

    #[test]
    fn attempts_and_campaigns_differ() {
        let seeds: BTreeSet<u64> = (0..50)
            .flat_map(|campaign| (0..50).map(move |attempt| seed(campaign, attempt, &[], 0)))
            .collect();
        assert_eq!(seeds.len(), 2500);
    }

    /// Were these to change, printed seeds would no longer reproduce.
    #[test]
    fn seeds_are_fixed() {
        assert_eq!(
            [seed(0, 0, &[], 0), seed(1, 1, &[], 500)],
            [0x2008_9e9f_4033_f525, 0x3280_6303_0530_226e]
        );
    }

    #[test]
    fn any_number_is_a_seed() {
        for number in (0..40).chain([u64::MAX, 0xdead_beef_dead_beef]) {
            assert!(ROTATION.contains(&plan(number, &[]).strategy));
            assert_eq!(plan(number, &[StrategyName::Fair]).strategy, StrategyName::Fair);
        }
        let drawn: BTreeSet<_> = (0..40).map(|number| plan(number, &[]).strategy.as_str()).collect();
        assert_eq!(drawn.len(), 2);
    }
}
