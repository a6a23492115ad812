//! Which events of a trace to show.

use std::str::FromStr;

/// Which events, by their numbers, which begin with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventRange {
    pub(crate) from: u64,
    /// The first one that is none of them; none: there is no such.
    pub(crate) to: Option<u64>,
}

impl FromStr for EventRange {
    type Err = String;

    /// FROM..TO, FROM.. or ..TO; nothing for all.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "events are FROM..TO, as in --events=50..64; either number may be left out".to_owned();
        let number = |text: &str| match text {
            "" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| wrong()),
        };
        if text.is_empty() {
            return Ok(Self { from: 0, to: None });
        }
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let (from, to) = (number(from)?.unwrap_or(0), number(to)?);
        if to.is_some_and(|to| to <= from) {
            return Err("there are no events between these numbers".to_owned());
        }
        Ok(Self { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |from, to| Ok(EventRange { from, to });
        assert_eq!("".parse(), of(0, None));
        assert_eq!("50..64".parse(), of(50, Some(64)));
        assert_eq!("50..".parse(), of(50, None));
        assert_eq!("..64".parse(), of(0, Some(64)));
        assert_eq!("..".parse(), of(0, None));
        for wrong in ["50", "a..", "..-1", "50...64", "1..99999999999999999999"] {
            assert!(wrong.parse::<EventRange>().is_err_and(|why| why.contains("--events=50..64")), "{wrong}");
        }
        assert!("7..7".parse::<EventRange>().is_err_and(|why| why.starts_with("there are no events")));
    }
}
