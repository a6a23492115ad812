//! How many at a time, as cargo's `-j` has it.

use std::fmt;
use std::str::FromStr;

/// How many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jobs {
    /// One for each core.
    Default,
    /// So many.
    Exactly(u16),
    /// One for each core but so many.
    AllBut(u16),
}

/// More are a slip of the finger.
const MOST: u16 = 1024;

impl Jobs {
    /// How many that is where there are so many cores.
    pub(crate) fn on(self, cores: usize) -> usize {
        match self {
            Self::Default => cores,
            Self::Exactly(jobs) => jobs.into(),
            Self::AllBut(cores_less) => cores.saturating_sub(cores_less.into()).max(1),
        }
    }
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<i32>() {
            _ if text == "default" => Ok(Self::Default),
            Ok(jobs @ 1..) if jobs <= MOST.into() => Ok(Self::Exactly(jobs as u16)),
            Ok(jobs @ ..=-1) if jobs >= -i32::from(MOST) => Ok(Self::AllBut(jobs.unsigned_abs() as u16)),
            _ => Err(format!("a number from 1 to {MOST}, `default`, or -N for N fewer than there are cores")),
        }
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Exactly(jobs) => write!(f, "{jobs}"),
            Self::AllBut(jobs) => write!(f, "-{jobs}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_cargos() {
        let on = |text: &str| text.parse::<Jobs>().map(|jobs| jobs.on(8));
        assert_eq!((on("3"), on("default"), on("-2"), on("-8")), (Ok(3), Ok(8), Ok(6), Ok(1)));
        for text in ["0", "1025", "-5000", "many", "", "99999999999"] {
            assert!(on(text).is_err(), "{text}");
        }
        for text in ["3", "default", "-2"] {
            assert_eq!(text.parse::<Jobs>().expect("jobs").to_string(), text);
        }
    }
}
