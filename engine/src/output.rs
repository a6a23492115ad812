//! A program's standard output and error, up to the length that people read.

use std::collections::VecDeque;

use twox_hash::XxHash3_128;

use crate::trace::event::Stream;

/// Bytes kept of the beginning, and as many of the end.
const HELD: usize = 4 << 20;

/// Largest size of a part. Parts are kept or left out as a whole.
const PART: usize = 64 << 10;

/// What a program has written to its standard output and error, in order. Programs may write without limit, and most
/// recordings are thrown away: of long output the middle is left out. A replay shows all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    beginning: Vec<Part>,
    end: VecDeque<Part>,
    /// Bytes kept of the beginning, and of the end.
    held: (usize, usize),
    left_out: u64,
    /// Digest of the bytes that are left out.
    digest: u128,
}

/// Consecutive output to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    stream: Stream,
    bytes: Vec<u8>,
}

impl Output {
    /// Appends what the program has written.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) {
        for bytes in bytes.chunks(PART) {
            let at_first = self.end.is_empty() && self.held.0 + bytes.len() <= HELD;
            let held = if at_first { &mut self.held.0 } else { &mut self.held.1 };
            *held += bytes.len();
            let last = if at_first { self.beginning.last_mut() } else { self.end.back_mut() };
            match last {
                Some(last) if last.stream == stream && last.bytes.len() + bytes.len() <= PART => {
                    last.bytes.extend_from_slice(bytes);
                }
                _ if at_first => self.beginning.push(Part { stream, bytes: bytes.to_vec() }),
                _ => self.end.push_back(Part { stream, bytes: bytes.to_vec() }),
            }
            self.leave_out();
        }
    }

    /// Drops the oldest parts of the end until it fits.
    fn leave_out(&mut self) {
        while self.held.1 > HELD
            && let Some(Part { bytes, .. }) = self.end.pop_front()
        {
            self.held.1 -= bytes.len();
            self.left_out += bytes.len() as u64;
            self.digest = self.digest.rotate_left(1) ^ XxHash3_128::oneshot(&bytes);
        }
    }

    /// Iterates over the beginning, part by part. This is everything if nothing is left out.
    pub fn beginning(&self) -> impl Iterator<Item = (Stream, &[u8])> {
        self.beginning.iter().map(|part| (part.stream, &part.bytes[..]))
    }

    /// Returns how many bytes are left out between the beginning and the end.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Iterates over the end, which follows what is left out.
    pub fn end(&self) -> impl Iterator<Item = (Stream, &[u8])> {
        self.end.iter().map(|part| (part.stream, &part.bytes[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<'a>(parts: impl Iterator<Item = (Stream, &'a [u8])>) -> Vec<u8> {
        parts.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    #[test]
    fn short_output_is_held_as_it_was_written() {
        let mut output = Output::default();
        for (stream, bytes) in [(Stream::Stdout, "a"), (Stream::Stdout, "b"), (Stream::Stderr, "c")] {
            output.push(stream, bytes.as_bytes());
        }
        let parts: Vec<_> = output.beginning().collect();
        assert_eq!(parts, [(Stream::Stdout, &b"ab"[..]), (Stream::Stderr, b"c")]);
        assert_eq!((output.left_out(), output.end().count()), (0, 0));
    }

    #[test]
    fn the_middle_of_long_output_is_left_out_but_known() {
        let write = |change: usize| {
            let mut output = Output::default();
            for number in 0..200_000 {
                let byte = u8::from(number == change);
                output.push(Stream::Stdout, format!("{number:99}{byte}").as_bytes());
            }
            output
        };
        let output = write(usize::MAX);
        let (beginning, end) = (bytes(output.beginning()), bytes(output.end()));
        assert!(beginning.len() <= HELD && end.len() <= HELD && end.len() > HELD - 2 * PART);
        assert_eq!(beginning.len() as u64 + output.left_out() + end.len() as u64, 20_000_000);
        assert!(beginning.starts_with(format!("{:99}0", 0).as_bytes()));
        assert!(end.ends_with(format!("{:99}0", 199_999).as_bytes()));
        assert_eq!(output, write(usize::MAX));
        for change in [0, 100_000, 199_999] {
            assert_ne!(output, write(change));
        }
    }

    #[test]
    fn one_large_write_is_many_parts() {
        let mut output = Output::default();
        output.push(Stream::Stderr, &vec![b'x'; 3 * HELD]);
        assert_eq!(output.left_out() as usize, HELD);
    }
}
