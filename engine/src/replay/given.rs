//! What the program writes out must be what it wrote when it was recorded: at each write, byte for byte.
//!
//! What goes to standard output and error is in the trace; of what else a call has taken from memory there is a
//! digest. The calls of the system-call buffer are compared in the process, where that takes what they did from its
//! log (`rrtest_preload::buffer`): one that differs stops, which it did not when it was recorded.

use rrtest_preload::layout::SYS_READ;
use rrtest_preload::reads::{Read, What};

use super::step::Step;
use crate::error::Error;
use crate::syscalls::{self, given, names};
use crate::trace::event::{Effect, Stream, Syscall};
use crate::tracee::{BufferedCall, Registers, buffered_calls};

/// How much of what was written a message shows, from just before the first byte that differs.
const SHOWN: usize = 60;
const BEFORE: usize = 20;

/// What the program is about to write is read up to this number of bytes beyond what it wrote: in the replay of a
/// crafted trace it could be any.
const BEYOND: usize = 1 << 20;

impl Step<'_, '_> {
    /// The running task makes this call: what it is about to write must be what it wrote.
    pub(super) fn check_given(&self, call: &Syscall) -> Result<(), Error> {
        let memory = &self.memory();
        if let Effect::Output(stream, bytes) = &call.effect {
            let most = (bytes.len() + BEYOND) as u64;
            let found = syscalls::gathered_up_to(most, memory, call.number, &call.args).unwrap_or_default();
            return if found == *bytes { Ok(()) } else { Err(self.writes_otherwise(*stream, bytes, &found)) };
        }
        let found = if call.given == 0 { 0 } else { given(memory, call.number, &call.args, call.result) };
        if found == call.given {
            return Ok(());
        }
        let words = |digest: u32| {
            let (name, count) = (syscalls::name(call.number), call.result);
            format!("{name} to descriptor {} of {count} bytes with digest {digest:#x}", call.args[0] as i32)
        };
        Err(self.differs(words(call.given), words(found)))
    }

    /// The running task makes this call: it must be about to name what it named.
    pub(super) fn check_names(&self, call: &Syscall) -> Result<(), Error> {
        let found = names(&self.memory(), call.number, &call.args, call.result);
        if found.iter().eq(call.names.iter().map(|name| &name.0)) {
            return Ok(());
        }
        let words = |names: &mut dyn Iterator<Item = &Vec<u8>>| {
            let names: Vec<_> = names.map(|name| format!("`{}`", text(name, 0))).collect();
            format!("{} of {}", syscalls::name(call.number), names.join(", "))
        };
        Err(self.differs(words(&mut call.names.iter().map(|name| &name.0)), words(&mut found.iter())))
    }

    /// A call has stopped that the recorded program did not make, or for which the buffer had another one in its log.
    pub(super) fn unlogged(&self, registers: &Registers) -> Error {
        let (number, args) = (registers.number(), registers.args());
        let log = self.live.area.log_left();
        let Some(logged) = buffered_calls(&log).next() else {
            return self.differs("a call that does not stop".into(), syscalls::name(number));
        };
        let most = (logged.payload.len() + BEYOND) as u64;
        let found = syscalls::gathered_up_to(most, &self.memory(), number, &args);
        if let (Some(stream), Some(found)) = (logged.stream.and_then(Stream::of), &found)
            && logged.number == number
        {
            return self.writes_otherwise(stream, logged.payload, found);
        }
        let expected = in_words(&logged);
        if number == SYS_READ as u64 {
            return self.differs(expected, self.unlogged_read(registers));
        }
        if logged.number == number
            && let Some((_, path)) = logged.opened()
            && let [found, ..] = &names(&self.memory(), number, &args, logged.result)[..]
        {
            let words = |path| format!("{} of `{}`", syscalls::name(number), text(path, 0));
            return self.differs(words(path), words(found));
        }
        let (name, at) = (syscalls::name(number), registers.ip());
        let found = match found {
            Some(bytes) if logged.number == number => format!("{name} of `{}` at {at:#x}", text(&bytes, 0)),
            _ => format!("{name} with other arguments at {at:#x}"),
        };
        self.differs(expected, found)
    }

    /// A task has stopped at an instruction of which the log does not tell: which one.
    pub(super) fn unlogged_read(&self, registers: &Registers) -> String {
        let word = self.memory().u64(registers.sp().wrapping_add(8)).unwrap_or_default();
        format!("{}, of which nothing was recorded", What::of_word(word).read.name())
    }

    fn writes_otherwise(&self, stream: Stream, expected: &[u8], found: &[u8]) -> Error {
        let to = match stream {
            Stream::Stdout => "standard output",
            Stream::Stderr => "standard error",
        };
        let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
        let words = |bytes: &[u8]| format!("{} bytes to {to}: `{}`", bytes.len(), text(bytes, same));
        self.differs(words(expected), words(found))
    }
}

/// A call of the buffer's log.
fn in_words(call: &BufferedCall<'_>) -> String {
    match Read::of_number(call.number) {
        Some(read) => format!("{} that reads {:#x}", read.name(), call.result),
        None => format!("{} = {}, made without a stop", syscalls::name(call.number), call.result),
    }
}

/// Bytes around the place `at`, as a person reads them.
fn text(bytes: &[u8], at: usize) -> String {
    let from = at.saturating_sub(BEFORE).min(bytes.len());
    let part = &bytes[from..bytes.len().min(from + SHOWN)];
    let (before, behind) =
        (if from > 0 { "…" } else { "" }, if from + SHOWN < bytes.len() { "…" } else { "" });
    let mut text = before.to_owned();
    for chunk in part.utf8_chunks() {
        text.extend(chunk.valid().escape_debug());
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text + behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_differs_is_shown() {
        assert_eq!(text(b"one\ntwo", 3), "one\\ntwo");
        let long: Vec<u8> = (0..200).map(|at| b'a' + at % 26).collect();
        assert_eq!(text(&long, 100).chars().count(), SHOWN + 2);
        assert!(text(&long, 0).ends_with('…') && !text(&long, 0).starts_with('…'));
        assert_eq!(text(&long, 1000), "…");
        assert_eq!(text(b"", 0), "");
        assert_eq!(text("a\u{e4}".as_bytes(), 0), "a\u{e4}");
        assert_eq!(text(b"\xfe1\n", 0), "\\xfe1\\n");
    }
}
