//! Quantities, paths and command lines, as all that we print has them.

use std::env;
use std::path::Path;
use std::time::Duration;

use rrtest_engine::ending::Stats;

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
    fn quantities() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(age(Duration::from_secs(59)), "59s");
        assert_eq!(age(Duration::from_secs(7200)), "2h");
        assert_eq!(count(1, "test"), "1 test");
        assert_eq!(count(0, "test"), "0 tests");
    }

    #[test]
    fn text_does_nothing_to_a_terminal() {
        assert_eq!(visible("a\nb \u{e9}"), "a\nb \u{e9}");
        assert_eq!(visible("\x1b[2J\r\t\u{9b}"), "\\u{1b}[2J\\r\\t\\u{9b}");
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(shell_word("--exact"), "--exact");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
