//! Seeds: one number that says all of how an attempt is scheduled.
//!
//! A strategy needs more than random numbers: which strategy it is, and how long the test is expected to run. All of it
//! is packed into the 64 bits that reports print, so `--seed 0x…` makes the same decisions again, without knowing of
//! the attempts that came before:
//!
//! ```text
//! bits 63–60  strategy, see STRATEGIES
//! bits 59–54  expected ticks, half octaves: 0 unknown, else 2^((c-1)/2)
//! bits 53–50  expected tasks, see TASKS
//! bits 49–0   random
//! ```
//!
//! Each of the 2^64 numbers is a seed, so that a user can type 7.

use rrtest_engine::schedule::{Plan, StrategyName};

use crate::hash::{fnv1a, splitmix64};

/// The strategies by code. Codes stay what they are: seeds are in people's notes.
const STRATEGIES: &[(StrategyName, &str)] =
    &[(StrategyName::Walk, "walk"), (StrategyName::Pct, "pct"), (StrategyName::Fair, "fair")];

/// Expected tasks by code; a number in between stands for the next one up.
const TASKS: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256];

const RANDOM_BITS: u32 = 50;

/// What was seen of a test in earlier attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// Ticks; 0 if unknown.
    pub(crate) ticks: u64,
    /// Tasks; 0 if unknown.
    pub(crate) tasks: u32,
}

/// A seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// A seed that nobody chose, for a test of which nothing is known.
    pub(crate) fn arbitrary(strategy: StrategyName) -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self::pack(strategy, Expectation::default(), std::hash::RandomState::new().build_hasher().finish())
    }

    /// The seed of attempt `attempt` of a test, in the campaign of this seed.
    pub(crate) fn derive(
        self,
        test: &str,
        attempt: u64,
        strategy: StrategyName,
        expected: Expectation,
    ) -> Self {
        let random = splitmix64(splitmix64(self.0 ^ fnv1a(test.as_bytes())).wrapping_add(attempt));
        Self::pack(strategy, expected, random)
    }

    fn pack(strategy: StrategyName, expected: Expectation, random: u64) -> Self {
        let strategy = STRATEGIES.iter().position(|(known, _)| *known == strategy).unwrap_or(0) as u64;
        let ticks = match expected.ticks {
            0 => 0,
            ticks => (1..63).find(|code| ticks_of(*code) >= ticks).unwrap_or(63),
        };
        let tasks = TASKS.iter().position(|tasks| *tasks >= expected.tasks).unwrap_or(TASKS.len() - 1) as u64;
        Self(strategy << 60 | ticks << 54 | tasks << RANDOM_BITS | random >> (64 - RANDOM_BITS))
    }

    /// The plan that this seed stands for; under another strategy if one is given.
    pub(crate) fn plan(self, strategy: Option<StrategyName>) -> Plan {
        let code = (self.0 >> 60) as usize % STRATEGIES.len();
        Plan {
            strategy: strategy.unwrap_or(STRATEGIES[code].0),
            seed: self.0,
            expected_ticks: ticks_of(self.0 >> 54 & 0x3f),
            expected_tasks: TASKS[(self.0 >> RANDOM_BITS & 0xf) as usize],
        }
    }

    /// The part of it that goes into file names.
    pub(crate) fn short(self) -> String {
        format!("{:08x}", self.0 as u32)
    }
}

fn ticks_of(code: u64) -> u64 {
    match code {
        0 => 0,
        code if code % 2 == 1 => 1 << ((code - 1) / 2),
        // 181/128 is the square root of 2 to four digits; the least of these is 2^0.5, one tick.
        code => (1u64 << ((code - 2) / 2)) * 181 / 128,
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl std::str::FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|error| format!("{error}; a seed is a number up to 2^64-1, decimal or 0x…"))
    }
}

/// A strategy's name as users type it and reports print it.
pub(crate) fn strategy_name(strategy: StrategyName) -> &'static str {
    STRATEGIES.iter().find(|(known, _)| *known == strategy).map_or("unknown", |(_, name)| name)
}

/// The strategy of this name.
pub(crate) fn parse_strategy(name: &str) -> Result<StrategyName, String> {
    STRATEGIES.iter().find(|(_, known)| *known == name).map(|(strategy, _)| *strategy).ok_or_else(|| {
        let names: Vec<_> = STRATEGIES.iter().map(|(_, name)| *name).collect();
        format!("there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_carries_the_plan() {
        for (strategy, _) in STRATEGIES {
            let expected = Expectation { ticks: 6160, tasks: 5 };
            let seed = Seed(99).derive("p t", 3, *strategy, expected);
            let plan = seed.plan(None);
            assert_eq!((plan.strategy, plan.expected_tasks, plan.seed), (*strategy, 5, seed.0));
            assert!((6160..6160 * 3 / 2).contains(&plan.expected_ticks), "{}", plan.expected_ticks);
            assert_eq!(seed.to_string().parse::<Seed>().expect("a seed").plan(None), plan);
        }
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let plan = Seed(1).derive("p t", 1, StrategyName::Walk, Expectation::default()).plan(None);
        assert_eq!((plan.expected_ticks, plan.expected_tasks), (0, 0));
    }

    #[test]
    fn huge_expectations_saturate() {
        let expected = Expectation { ticks: u64::MAX, tasks: u32::MAX };
        let plan = Seed(1).derive("p t", 1, StrategyName::Pct, expected).plan(None);
        assert_eq!((plan.expected_ticks, plan.expected_tasks), (1 << 31, 256));
    }

    #[test]
    fn tests_attempts_and_campaigns_differ() {
        let seed = |campaign, test, attempt| {
            Seed(campaign).derive(test, attempt, StrategyName::Walk, Expectation::default())
        };
        let seeds = [seed(1, "a", 1), seed(1, "a", 2), seed(1, "b", 1), seed(2, "a", 1)];
        for (i, one) in seeds.iter().enumerate() {
            assert!(!seeds[..i].contains(one));
        }
        assert_eq!(seed(1, "a", 1), seed(1, "a", 1));
    }

    #[test]
    fn codes_of_ticks_grow() {
        let ticks: Vec<_> = (1..64).map(ticks_of).collect();
        assert!(ticks.is_sorted());
        assert_eq!(ticks[..6], [1, 1, 2, 2, 4, 5]);
    }

    #[test]
    fn seeds_as_users_type_them() {
        assert_eq!("7".parse::<Seed>(), Ok(Seed(7)));
        assert_eq!("0xff".parse::<Seed>(), Ok(Seed(255)));
        assert!("0xfg".parse::<Seed>().is_err());
        assert!("-1".parse::<Seed>().is_err());
        for number in [7, u64::MAX, 0xf << 60] {
            let _any_number_has_a_plan = Seed(number).plan(None);
        }
        assert_eq!(Seed(7).plan(Some(StrategyName::Fair)).strategy, StrategyName::Fair);
    }
}
