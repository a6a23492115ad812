//! Seeds as users see them. What is in a seed, and that it says all about its attempt, is the business of
//! [`portfolio`].

use rrtest_engine::schedule::explore;
use rrtest_engine::schedule::portfolio::{self, Measured};
use rrtest_engine::schedule::{Plan, StrategyName};

use crate::base::hash::fnv1a;

/// The bit of a seed that says whether tests together are run in another way than the usual one. Like [`SOME`] it is among those
/// that are random in all seeds of attempts.
pub(super) const VARIED: u128 = 1 << 57;

/// The bit that says whether some of them only are run then.
pub(super) const SOME: u128 = 1 << 56;

/// A seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u128);

impl Seed {
    /// A seed that nobody chose, for a first attempt with one of these strategies (empty: any). If it is the only attempt,
    /// it has no use for what it could measure. Tests that are run together are run in the usual way.
    pub(crate) fn arbitrary(strategies: &[StrategyName], only: bool) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let number = std::hash::RandomState::new().build_hasher().finish();
        // Any of the rotation.
        let turn = if only { number >> 32 | 1 } else { 0 };
        let strategy = portfolio::strategy(turn, strategies);
        Self(portfolio::seed(number.into(), 0, strategy, &Measured::default())).in_usual_order()
    }

    /// The seed of attempt `attempt` (from 1) of a test, in the campaign whose seed this is. `measured` is what earlier
    /// attempts have.
    pub(crate) fn derive(
        self,
        test: &str,
        attempt: u64,
        strategy: StrategyName,
        measured: &Measured,
    ) -> Self {
        // A campaign of its own for each test, so that tests of one binary are not scheduled alike.
        let campaign = self.0 ^ u128::from(fnv1a(test.as_bytes()));
        Self(portfolio::seed(campaign, attempt - 1, strategy, measured))
    }

    /// The seed of a systematic schedule.
    pub(crate) fn systematic(schedule: &explore::Schedule) -> Self {
        Self(portfolio::systematic(&schedule.deviations, schedule.at_once))
    }

    /// This seed, but with the usual order of tests together.
    pub(crate) fn in_usual_order(self) -> Self {
        Self(self.0 & !VARIED)
    }

    /// The plan that this seed stands for, with one of these strategies (empty: any).
    pub(crate) fn plan(self, strategies: &[StrategyName]) -> Plan {
        portfolio::plan(self.0, strategies)
    }

    /// Whether its number is odd: of all seeds, half are.
    pub(crate) fn is_odd(self) -> bool {
        self.0 & 1 == 1
    }

    /// The part of it that goes into file names.
    pub(crate) fn short(self) -> String {
        format!("{:08x}", self.0 as u32)
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
            Some(digits) => u128::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| "a seed is a number up to 2^128-1, decimal or 0x…".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_attempts_and_campaigns_differ() {
        let seed = |campaign, test, attempt| {
            Seed(campaign).derive(test, attempt, StrategyName::Pos, &Measured::default())
        };
        let seeds = [seed(1, "a", 1), seed(1, "a", 2), seed(1, "b", 1), seed(2, "a", 1)];
        for (i, one) in seeds.iter().enumerate() {
            assert!(!seeds[..i].contains(one));
        }
        assert_eq!(seed(1, "a", 1), seed(1, "a", 1));
    }

    #[test]
    fn a_printed_seed_is_the_whole_plan() {
        for strategies in [&[][..], &[StrategyName::Pct], &[StrategyName::Fair, StrategyName::Walk]] {
            for seed in [
                Seed::arbitrary(strategies, false),
                Seed::arbitrary(strategies, true),
                Seed(5).derive(
                    "p t",
                    3,
                    portfolio::strategy(2, strategies),
                    &Measured { ticks: 522, events: vec![1, 40], ..Measured::default() },
                ),
            ] {
                let printed: Seed = seed.to_string().parse().expect("a seed");
                assert_eq!(printed.plan(&[]), seed.plan(strategies));
            }
        }
    }

    #[test]
    fn a_single_attempt_is_not_fair() {
        for _ in 0..50 {
            assert_ne!(Seed::arbitrary(&[], true).plan(&[]).strategy, StrategyName::Fair);
            assert_eq!(Seed::arbitrary(&[], false).plan(&[]).strategy, StrategyName::Fair);
        }
    }

    #[test]
    fn seeds_as_users_type_them() {
        assert_eq!("7".parse::<Seed>(), Ok(Seed(7)));
        assert_eq!("0xff".parse::<Seed>(), Ok(Seed(255)));
        assert_eq!(Seed(0xabc).short(), "00000abc");
        assert!("0xfg".parse::<Seed>().is_err());
        assert!("-1".parse::<Seed>().is_err());
    }
}
