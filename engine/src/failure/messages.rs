//! What std writes of panics, and which panic each message is of.
//!
//! A replay tells of output earlier than the program comes to write it, so messages are not found by when they come. A
//! panic's message names the thread, and a source line that is on the panic's stack.

use crate::ending::Frame;

/// So much is kept of what a program writes, the last of it, in bytes; and so much of a message.
const MOST: usize = 4 << 20;
const LONGEST: usize = 8 << 10;

/// What stands between the thread and the place in the first line of a message.
const PANICKED: &str = " panicked at ";

/// What follows a message.
const AFTER: [&str; 2] = ["\nnote: run with `RUST_BACKTRACE", "\nstack backtrace:"];

/// What a program has written.
#[derive(Debug, Default)]
pub(super) struct Written(Vec<u8>);

impl Written {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        // Seldom, as what is kept is moved.
        if self.0.len() > 2 * MOST {
            self.0.drain(..self.0.len() - MOST);
        }
    }

    /// The messages in it.
    pub(super) fn messages(&self) -> Messages {
        let text = String::from_utf8_lossy(&self.0);
        let mut starts: Vec<usize> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if first_line(line).is_some() {
                starts.push(at);
            }
            at += line.len();
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let all = starts.iter().zip(ends).filter_map(|(start, end)| Message::read(&text[*start..end]));
        Messages(all.collect())
    }
}

/// Messages that are not known to be any panic's yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Messages(Vec<Message>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    thread: String,
    file: String,
    line: u32,
    text: String,
}

impl Messages {
    /// Takes out the message of a panic of a thread of this name; of several, the last one. So panics are to be asked
    /// for from the last one on.
    pub(super) fn take(&mut self, thread: &str, frames: &[Frame]) -> Option<String> {
        let at = self.0.iter().rposition(|message| message.is_of(thread, frames))?;
        Some(self.0.remove(at).text)
    }
}

impl Message {
    /// Reads what begins with a message.
    fn read(text: &str) -> Option<Self> {
        let (thread, file, line) = first_line(text.lines().next()?)?;
        let end = AFTER.iter().filter_map(|after| text.find(after)).min().unwrap_or(text.len());
        let text = String::from_utf8_lossy(&text.as_bytes()[..end.min(LONGEST)]);
        let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER).trim_end().to_owned();
        Some(Self { thread: thread.to_owned(), file: file.to_owned(), line, text })
    }

    fn is_of(&self, thread: &str, frames: &[Frame]) -> bool {
        // The kernel keeps the beginning of a name; the first thread has that of the program, one without a name that of
        // its maker.
        let is_thread = ["main", "<unnamed>"].contains(&&*self.thread) || self.thread.starts_with(thread);
        let mut places = frames.iter().filter_map(|frame| frame.location.as_ref());
        is_thread && places.any(|(file, line)| *line == self.line && is_same(file, &self.file))
    }
}

/// Whether a path is that which another one ends with.
fn is_same(path: &str, end: &str) -> bool {
    path.strip_suffix(end.trim_start_matches("./"))
        .is_some_and(|before| before.is_empty() || before.ends_with('/') || end.starts_with('/'))
}

/// The thread, the file and the line that the first line of a message names: `thread 't' (7) panicked at src/lib.rs:5:9:`.
fn first_line(line: &str) -> Option<(&str, &str, u32)> {
    let (thread, place) = line.split_once(PANICKED)?;
    let (_, thread) = thread.split_once("thread '")?;
    let (thread, _) = thread.rsplit_once('\'')?;
    let (place, _column) = place.trim_end().trim_end_matches(':').rsplit_once(':')?;
    let (file, line) = place.rsplit_once(':')?;
    Some((thread, file, line.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Messages {
        let mut written = Written::default();
        written.push(text.as_bytes());
        written.messages()
    }

    fn frames(places: &[(&str, u32)]) -> Vec<Frame> {
        let frame = |(file, line): &(&str, u32)| Frame {
            address: 0x10,
            function: None,
            location: Some(((*file).to_owned(), *line)),
        };
        places.iter().map(frame).collect()
    }

    const OUTPUT: &str = "running 1 test\n\nthread 'worker' (12) panicked at src/lib.rs:3:5:\nfirst\n  left: 1\n\
                          stack backtrace:\n   0: x\nthread 'worker' panicked at src/lib.rs:3:5:\nsecond\n\
                          thread 'main' (9) panicked at tests/it.rs:7:1:\nthird\nnote: run with `RUST_BACKTRACE=1`\n";

    #[test]
    fn each_panic_has_its_own() {
        let mut messages = messages(OUTPUT);
        let worker = frames(&[("/rustc/0/library/std/src/x.rs", 3), ("/w/p/src/lib.rs", 3)]);
        assert_eq!(messages.take("other", &worker), None);
        let second = "thread 'worker' panicked at src/lib.rs:3:5:\nsecond";
        assert_eq!(messages.take("worker", &worker).as_deref(), Some(second));
        let first = "thread 'worker' (12) panicked at src/lib.rs:3:5:\nfirst\n  left: 1";
        assert_eq!(messages.take("work", &worker).as_deref(), Some(first), "the kernel cuts names");
        assert_eq!(messages.take("worker", &worker), None);
        assert_eq!(messages.take("p-0123456789abc", &frames(&[("/w/p/other/tests/it.rs", 8)])), None);
        let third = messages.take("p-0123456789abc", &frames(&[("/w/p/tests/it.rs", 7)]));
        assert!(third.is_some_and(|third| third.ends_with("\nthird")));
    }

    #[test]
    fn a_part_of_a_name_is_no_end_of_a_path() {
        assert!(is_same("/w/src/lib.rs", "src/lib.rs") && is_same("/w/src/lib.rs", "./src/lib.rs"));
        assert!(is_same("/w/src/lib.rs", "/w/src/lib.rs") && !is_same("/w/mysrc/lib.rs", "src/lib.rs"));
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in [
            "thread 'a' panicked at nowhere:\nx",
            "it panicked at src/lib.rs:1:2:",
            "thread 'a' panicked at a:b:c:",
        ] {
            assert!(messages(text).0.is_empty(), "{text}");
        }
    }

    #[test]
    fn long_output_and_long_messages_are_cut() {
        let mut written = Written::default();
        written.push(OUTPUT.as_bytes());
        (0..3 * MOST / 1024).for_each(|_| written.push(&[b'x'; 1024]));
        assert!(written.0.len() <= 2 * MOST && written.messages().0.is_empty());
        written.push(format!("\nthread 'a' panicked at x.rs:1:2:\n{}", "ä".repeat(LONGEST)).as_bytes());
        assert!(written.messages().0[0].text.len() <= LONGEST);
    }
}
