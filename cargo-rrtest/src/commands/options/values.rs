//! Values that options take, as users write them.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use rrtest_engine::schedule::StrategyName;

use crate::base::words::{did_you_mean, parse_duration};

/// The form of `run`'s report, and of the compiler's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Report {
    /// For people, on standard error.
    #[default]
    Human,
    /// The same, with compiler messages of one line each.
    Short,
    /// For programs, on standard output.
    Json,
}

/// The names of the strategies that draw their schedules, for help.
pub(crate) fn drawn() -> String {
    let drawn = StrategyName::ALL.into_iter().filter(|strategy| *strategy != StrategyName::Systematic);
    drawn.map(StrategyName::as_str).collect::<Vec<_>>().join(", ")
}

/// Cargo's other formats, which are all of compiler messages.
const CARGOS: &[&str] =
    &["json-diagnostic-short", "json-diagnostic-rendered-ansi", "json-render-diagnostics"];

impl FromStr for Report {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "short" => Ok(Self::Short),
            "json" => Ok(Self::Json),
            _ if CARGOS.contains(&text) => {
                Err("compiler messages are not written as JSON here: `json` writes \
                 the events of the run, and the compiler's messages go to standard error; for those as JSON, \
                 `cargo test --no-run` first"
                    .to_owned())
            }
            _ => Err(format!("human, short or json{}", did_you_mean(text, ["human", "short", "json"]))),
        }
    }
}

/// The form of what the other commands report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// For people, on standard error
    Human,
    /// For programs, on standard output
    Json,
}

/// Whether it is to be found out what failures need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Explain {
    /// It is not.
    Never,
    /// In so much time.
    For(Duration),
}

impl Explain {
    /// Returns the time for it in a campaign, whose own time is limited to `campaign`; `None` if it is not to be. By
    /// default it is short, also beside the campaign's.
    pub(crate) fn time(asked: Option<Self>, campaign: Option<Duration>) -> Option<Duration> {
        const USUAL: Duration = Duration::from_secs(5);
        match asked {
            Some(Self::Never) => None,
            Some(Self::For(time)) => Some(time),
            None => Some(campaign.map_or(USUAL, |time| USUAL.min(time / 10))),
        }
    }
}

/// Reads a time, or `never`.
pub(crate) fn parse_explain(text: &str) -> Result<Explain, String> {
    match text {
        "never" => Ok(Explain::Never),
        time => parse_duration(time).map(Explain::For),
    }
}

/// What becomes of a run in which some tests had no attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NeverRan {
    /// fail where the environment variable CI is set, else warn
    #[default]
    Auto,
    /// Exit code 0
    Pass,
    /// Exit code 0, and a warning
    Warn,
    /// Exit code 5
    Fail,
}

/// The units of sizes, in bytes.
const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A size as users write it: `500MB`, `2 GiB`, or `none` for no limit.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(u64::MAX);
    }
    let wrong = || "a size is written like 500MB or 2GB, or `none`".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim_start();
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number.checked_mul(*bytes).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("500MB"), Ok(500_000_000));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("0B"), Ok(0));
        assert_eq!(parse_size("none"), Ok(u64::MAX));
        for text in ["", "5", "GB", "-1GB", "1.5GB", "5 gb", "99999999999TB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
