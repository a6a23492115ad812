//! Quantities, paths and command lines, as all that we print has them.

use std::env;
use std::path::Path;
use std::time::Duration;

use rrtest_engine::ending::Stats;

/// No duration that a user gives is as long: sums of several are still such.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A hint at the known word that is most like an unknown one, if any is; to be added to a message.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}

/// The known word that is most like this one, if any is.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// As clap has it.
    const ALIKE: f64 = 0.7;
    let like = |known: &&str| likeness(word, known);
    let best = known.into_iter().max_by(|one, other| like(one).total_cmp(&like(other)))?;
    (like(&best) > ALIKE).then_some(best)
}

/// How much two words are alike, from 0 to 1.
pub(crate) fn likeness(one: &str, other: &str) -> f64 {
    strsim::jaro(one, other)
}

/// `1 test`, `2 tests`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `1 binary`, `2 binaries`.
pub(crate) fn binaries(number: usize) -> String {
    if number == 1 { "1 binary".to_owned() } else { format!("{number} binaries") }
}

/// What was counted of a program.
pub(crate) fn counts(stats: Stats) -> String {
    [
        count(stats.ticks, "tick"),
        count(stats.preemptions, "preemption"),
        count(stats.syscalls, "traced system call"),
        count(u64::from(stats.tasks), "task"),
    ]
    .join(", ")
}

/// An attempt at a test by its number; 0 is that of an attempt at a pin.
pub(crate) fn attempt(number: u64) -> String {
    if number == 0 { "the pinned attempt".to_owned() } else { format!("attempt {number}") }
}

/// Seconds with milliseconds, right-aligned as nextest has them.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("[{:>8.3}s]", duration.as_secs_f64())
}

/// How long ago, in its largest unit.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    units
        .iter()
        .find(|(unit, _)| seconds >= *unit)
        .map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// A duration in words, in its larger units.
pub(crate) fn rounded(duration: Duration) -> String {
    let unit = match duration.as_secs() {
        0 if duration.as_millis() < 10 => Duration::from_micros(100),
        0 => Duration::from_millis(1),
        1..60 => Duration::from_millis(100),
        _ => Duration::from_secs(1),
    };
    let units = duration.as_nanos() / unit.as_nanos();
    let rounded = Duration::from_nanos(u64::try_from(units * unit.as_nanos()).unwrap_or(u64::MAX));
    humantime::format_duration(rounded).to_string()
}

/// A duration as users write it: `90s`, `10m`, `1h 30m`, or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "a duration is written like 90s, 10m or 1h 30m".to_owned())?,
    };
    if duration.is_zero() {
        return Err("it must be longer than zero".to_owned());
    }
    if duration > LONGEST {
        return Err("it must be no longer than a hundred years".to_owned());
    }
    Ok(duration)
}

/// Bytes, in the unit that keeps them short.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    units.iter().find(|(unit, _)| bytes >= *unit).map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| format!("{:.1} {name}", bytes as f64 / *unit as f64),
    )
}

/// A path as seen from the working directory, if it is below it.
pub(crate) fn relative(path: &Path) -> &Path {
    let cwd = env::current_dir().ok().filter(|cwd| cwd.parent().is_some());
    cwd.and_then(|cwd| path.strip_prefix(cwd).ok()).unwrap_or(path)
}

/// Text in which control characters, other than the ends of lines, are written out.
pub(crate) fn visible(text: &str) -> String {
    let written = |c: char| match c {
        '\n' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(written).collect()
}

/// How wide a column of a table is: as its widest cell, but for those that are longer than anybody reads in a line.
pub(crate) fn width<'a>(cells: impl Iterator<Item = &'a String>) -> usize {
    const WIDEST: usize = 120;
    cells.map(|cell| cell.chars().count()).filter(|length| *length <= WIDEST).max().unwrap_or(0)
}

/// A word as a shell reads it.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded() {
        for (microseconds, text) in [
            (640, "600us"),
            (4_210, "4ms 200us"),
            (64_210, "64ms"),
            (1_064_210, "1s"),
            (3_599_964_210, "59m 59s"),
        ] {
            assert_eq!(rounded(Duration::from_micros(microseconds)), text);
        }
    }

    #[test]
    fn quantities() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(age(Duration::from_secs(59)), "59s");
        assert_eq!(age(Duration::from_secs(7200)), "2h");
        assert_eq!(count(1, "test"), "1 test");
        assert_eq!(count(0, "test"), "0 tests");
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("-5s").is_err());
        for long in ["18446744073709551615", "9100000000000000000", "101years"] {
            assert!(parse_duration(long).is_err_and(|why| why.contains("hundred years")), "{long}");
        }
    }

    #[test]
    fn text_does_nothing_to_a_terminal() {
        assert_eq!(visible("a\nb \u{e9}"), "a\nb \u{e9}");
        assert_eq!(visible("\x1b[2J\r\t\u{9b}"), "\\u{1b}[2J\\r\\t\\u{9b}");
    }

    #[test]
    fn the_nearest_word_is_a_hint() {
        assert_eq!(did_you_mean("timout", ["timeout", "time"]), "; did you mean `timeout`?");
        assert_eq!(did_you_mean("xyz", ["timeout", "time"]), "");
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(shell_word("--exact"), "--exact");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
