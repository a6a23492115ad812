//! What a program's output says of a panic: where it was, and the whole of its message.

use rrtest_engine::output::Output;
use rrtest_engine::trace::event::Stream;

use super::output::text;

/// Longer messages are cut off: a `Debug` text may have any length.
const LONGEST: usize = 8 << 10;

/// What begins a line that no longer belongs to the message.
const AFTER: &[&str] = &["note: run with `RUST_BACKTRACE", "stack backtrace:", "test result: ", "failures:"];

/// A panic as the standard library prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic {
    /// The source file, as the compiler was given it: relative to the workspace for the workspace's own.
    pub(crate) file: String,
    /// The line in it.
    pub(crate) line: u32,
    /// The column in that.
    pub(crate) column: u32,
    /// What it says, all lines of it unless they are very long.
    pub(crate) message: String,
}

impl Panic {
    /// The first one that a program's output tells of. Later ones mostly follow from it: threads that join the one that failed.
    pub(crate) fn first(output: &str) -> Option<Self> {
        let mut lines = output.lines();
        let (file, line, column) = lines.by_ref().find_map(|line| split(location(line)?))?;
        let message = lines.take_while(|line| {
            location(line).is_none() && !AFTER.iter().any(|after| line.starts_with(after))
        });
        let mut text = String::new();
        for line in message {
            if text.len() + line.len() > LONGEST {
                text.push_str("…\n");
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        Some(Self { file: file.to_owned(), line, column, message: text.trim_end().to_owned() })
    }

    /// The first one of a program's standard error, or else of its standard output: libtest shows there what it has captured of
    /// several tests.
    pub(crate) fn of(output: &Output) -> Option<Self> {
        [Stream::Stderr, Stream::Stdout].iter().find_map(|stream| Self::first(&text(output, &[*stream])))
    }

    /// Where it was, as the program wrote it.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The location in a panic's first line, `thread '…' (…) panicked at src/lib.rs:5:9:`.
pub(crate) fn location(line: &str) -> Option<&str> {
    let (thread, location) = line.split_once(" panicked at ")?;
    thread.trim_start().starts_with("thread '").then(|| location.trim_end_matches(':'))
}

/// A location's file, line and column.
fn split(location: &str) -> Option<(&str, u32, u32)> {
    let (rest, column) = location.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_explains_a_failure() {
        let output = "running 1 test\n\nthread 'a' (12) panicked at src/lib.rs:3:5:\nassertion failed\n  left: 1\n\n\
                      note: run with `RUST_BACKTRACE=1` environment variable\nthread 't' panicked at tests/it.rs:9:1:\nAny\n";
        let panic = Panic::first(output).expect("a panic");
        assert_eq!((&*panic.file, panic.line, panic.column), ("src/lib.rs", 3, 5));
        assert_eq!(panic.message, "assertion failed\n  left: 1");
        assert_eq!(panic.place(), "src/lib.rs:3:5");
        assert_eq!(Panic::first("running 1 test\n"), None);
    }

    #[test]
    fn what_looks_nearly_like_a_panic_is_none() {
        for output in [
            "thread 'a' panicked at nowhere:\nx",
            "it panicked at src/lib.rs:1:2:\nx",
            "thread 'a' panicked at a:b:c:",
        ] {
            assert_eq!(Panic::first(output), None, "{output}");
        }
    }

    #[test]
    fn a_long_message_is_cut_off() {
        let output = format!("thread 'a' panicked at src/lib.rs:3:5:\n{}", "long line\n".repeat(10_000));
        let panic = Panic::first(&output).expect("a panic");
        assert!(panic.message.len() < 2 * LONGEST && panic.message.ends_with('…'));
    }

    #[test]
    fn standard_error_comes_first() {
        let mut output = Output::default();
        output.push(Stream::Stdout, b"thread 'a' panicked at src/lib.rs:2:5:\nx\n");
        assert_eq!(Panic::of(&output).map(|panic| panic.line), Some(2));
        output.push(Stream::Stderr, b"thread 'a' panicked at src/lib.rs:1:5:\nx\n");
        assert_eq!(Panic::of(&output).map(|panic| panic.line), Some(1));
    }
}
