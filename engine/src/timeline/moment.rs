//! Moments of a run.

use std::fmt;
use std::str::FromStr;

/// A moment of a run: between two instructions. The order is that of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// How many events of the trace have happened.
    pub event: u64,
    /// How many ticks there have been since the last of them.
    pub ticks: u64,
    /// How many instructions of the running task since the last of these.
    pub instructions: u64,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.event)?;
        match (self.ticks, self.instructions) {
            (0, 0) => Ok(()),
            (ticks, 0) => write!(f, ".{ticks}"),
            (ticks, instructions) => write!(f, ".{ticks}.{instructions}"),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// `EVENT`, `EVENT.TICKS` or `EVENT.TICKS.INSTRUCTIONS`.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.trim().split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([event]) => Ok(Self { event: *event, ticks: 0, instructions: 0 }),
            Ok([event, ticks]) => Ok(Self { event: *event, ticks: *ticks, instructions: 0 }),
            Ok([event, ticks, instructions]) => {
                Ok(Self { event: *event, ticks: *ticks, instructions: *instructions })
            }
            _ => Err(format!(
                "`{text}` is no moment: it is EVENT, EVENT.TICKS or EVENT.TICKS.INSTRUCTIONS, as in 120.4.17"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        for text in ["7", "120.4", "120.0.3", "120.4.17"] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
        assert_eq!("7.0.0".parse::<Moment>().unwrap().to_string(), "7");
        for text in ["", "x", "1.", "1.2.3.4", "-1", "1 2", "99999999999999999999"] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_ordered_as_they_come() {
        let moments = ["3", "3.0.1", "3.1", "3.1.9", "3.2", "4"].map(|text| text.parse::<Moment>().unwrap());
        assert!(moments.is_sorted());
    }
}
