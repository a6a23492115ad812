//! The strategies by name, and their codes in seeds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Makes [`StrategyName`] from a table of all strategies that can be asked for.
macro_rules! strategies {
    ($($(#[$doc:meta])* $strategy:ident, $name:literal, $code:literal;)*) => {
        /// The strategies by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum StrategyName {
            $($(#[$doc])* $strategy,)*
            /// A schedule that is written out. Nobody asks for it by name.
            Scripted,
        }

        impl StrategyName {
            /// All strategies that can be asked for.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$strategy),*];

            /// Returns the name that users type and read.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$strategy => $name,)*
                    Self::Scripted => "scripted",
                }
            }

            /// Returns what stands for it in a seed. No seed stands for a script.
            pub(super) fn code(self) -> u128 {
                match self {
                    $(Self::$strategy => $code,)*
                    Self::Scripted => 0,
                }
            }
        }
    };
}

// The strategy, its name, its code. Codes never change, or printed seeds would stand for something else: a new
// strategy has the next one, up to 15.
strategies! {
    /// Round robin with long timeslices: no chaos.
    Fair, "fair", 1;
    /// A random walk over ticks.
    Walk, "walk", 2;
    /// Priorities with random change points.
    Pct, "pct", 3;
    /// Random priorities of operations on shared objects.
    Pos, "pos", 4;
    /// All orders of operations on shared objects with equal probability.
    Surw, "surw", 5;
    /// Some tasks do not run for a while.
    Starve, "starve", 6;
    /// As [`Self::Pos`], from where an earlier attempt has met a new order of accesses.
    Guided, "guided", 8;
    /// All schedules with few preemptions, one after the other.
    Systematic, "systematic", 7;
}

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StrategyName {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.as_str() == name);
        found.ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// No strategy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy `{0}`; known: {known}", known = StrategyName::ALL.map(StrategyName::as_str).join(", "))]
pub struct UnknownStrategy(pub String);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for strategy in StrategyName::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.as_str());
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "random".parse::<StrategyName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown strategy `random`; known: fair, walk, pct, pos, surw, starve, guided, systematic"
        );
    }

    #[test]
    fn each_has_a_code_of_its_own_that_fits_in_a_seed() {
        let codes: BTreeSet<u128> = StrategyName::ALL.into_iter().map(StrategyName::code).collect();
        assert_eq!(codes.len(), StrategyName::ALL.len());
        assert!(codes.iter().all(|code| (1..16).contains(code)));
    }
}
