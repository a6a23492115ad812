//! The events as one stream of bytes: each a little-endian `u32` length and that many bytes of postcard.
//!
//! The stream comes in chunks, from memory or from a file, and an event may span chunks. Decoding can begin at those
//! that are *entries*: they begin with an event, whose encoding depends on none before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use postcard::ser_flavors::Flavor;

use super::TraceError;
use super::event::{Event, Position, Registers};
use crate::task::TaskId;

/// Bytes of the length before each event.
const PREFIX: usize = size_of::<u32>();

/// An event has at most so many bytes, however large the trace is: whoever reads it has all of them in memory, several
/// times. Nearly all of a long one are what a call has read, at most 2 GiB at once (read(2)).
pub(super) const LONGEST: u32 = (2 << 30) + (1 << 20);

/// A chunk has no room for events of more tasks. It is a bound for the memory of whoever reads what somebody has
/// crafted.
const TASKS: usize = 1 << 16;

/// A part of the stream.
pub(super) struct Chunk<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// If it is an entry, the number of its first event.
    pub(super) entry: Option<u64>,
}

/// Encodes events, each with its length.
#[derive(Clone, Debug, Default)]
pub(super) struct Encoder {
    previous: Previous,
}

impl Encoder {
    /// The next event begins an entry.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Append the next event to the stream, of which `chunk` is the end. A chunk holds whole events.
    ///
    /// # Errors
    /// Why it cannot be encoded. Nothing is appended then.
    pub(super) fn encode(&mut self, mut event: Event, chunk: &mut Vec<u8>) -> Result<(), String> {
        self.previous.take_out(&mut event);
        let start = chunk.len();
        chunk.extend_from_slice(&[0; PREFIX]);
        let encoded =
            postcard::serialize_with_flavor(&event, Append(chunk)).map_err(|error| error.to_string());
        let len = encoded.and_then(|()| {
            let len = u32::try_from(chunk.len() - start - PREFIX).ok().filter(|len| *len <= LONGEST);
            len.ok_or_else(|| format!("an event exceeds {} MiB", LONGEST >> 20))
        });
        match len {
            Ok(len) => chunk[start..start + PREFIX].copy_from_slice(&len.to_le_bytes()),
            Err(_) => chunk.truncate(start),
        }
        len.map(drop)
    }
}

/// The countdown at the previous event, and each task's registers at its previous position; all are 0 in front of an
/// entry's first event.
///
/// In the stream, [`Position::left`] is the number of ticks since then, and the registers are what they have changed
/// by. A loop that makes the same call again and again so yields the same bytes again and again, and zstd all but
/// removes them.
#[derive(Clone, Debug, Default)]
struct Previous {
    left: u64,
    /// The task that runs, as far as events say so. (Tasks also hand over without one, which costs some bytes.)
    task: TaskId,
    /// Its registers, and those of the others.
    current: Registers,
    registers: BTreeMap<TaskId, Registers>,
}

impl Previous {
    fn take_out(&mut self, event: &mut Event) {
        if !self.note_run(event)
            && let Some(position) = event.position_mut()
        {
            let Position { left, registers } = *position;
            position.left = self.left.wrapping_sub(left);
            for (value, before) in position.registers.0.iter_mut().zip(self.current.0) {
                *value = zigzag(value.wrapping_sub(before));
            }
            (self.left, self.current) = (left, registers);
        }
    }

    fn put_back(&mut self, event: &mut Event) {
        if !self.note_run(event)
            && let Some(position) = event.position_mut()
        {
            position.left = self.left.wrapping_sub(position.left);
            for (value, before) in position.registers.0.iter_mut().zip(self.current.0) {
                *value = before.wrapping_add(unzigzag(*value));
            }
            (self.left, self.current) = (position.left, position.registers);
        }
    }

    /// Whether a task begins to run here, which is noted.
    fn note_run(&mut self, event: &Event) -> bool {
        let Event::Run { task, slice, .. } = event else { return false };
        if *task != self.task {
            self.registers.insert(self.task, self.current);
            self.current = self.registers.remove(task).unwrap_or_default();
        }
        (self.task, self.left) = (*task, *slice);
        true
    }
}

/// Makes small numbers of small differences of either sign (as Protocol Buffers do), which are short in postcard.
fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    (signed << 1 ^ signed >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> u64 {
    value >> 1 ^ (value & 1).wrapping_neg()
}

/// Lets postcard append to a buffer that is used again and again. (Its own `ExtendFlavor` copies byte strings byte by
/// byte.)
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Where bytes of the stream are.
enum Taken {
    InChunk(Range<usize>),
    Together,
}

/// The events of a stream. Ends after the first error.
pub(super) struct Events<'a, I> {
    chunks: I,
    /// What is left of the current chunk starts at `at`.
    chunk: Cow<'a, [u8]>,
    at: usize,
    /// An event that spans chunks, put together.
    record: Vec<u8>,
    previous: Previous,
    /// The most bytes that an event may have.
    most: u64,
    /// The trace's name, for errors.
    path: PathBuf,
    count: u64,
    over: bool,
}

impl<'a, I> Events<'a, I>
where
    I: Iterator<Item = Result<Chunk<'a>, TraceError>>,
{
    /// The events from number `first` on, with which the first chunk begins.
    pub(super) fn new(chunks: I, first: u64, path: PathBuf) -> Self {
        let (chunk, record, previous) = (Cow::Borrowed([].as_slice()), Vec::new(), Previous::default());
        Self { chunks, chunk, at: 0, record, previous, most: u64::MAX, path, count: first, over: false }
    }

    /// The same, of which none has more bytes than this.
    pub(super) fn at_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Make sure that the current chunk has something left, unless the stream is over. `within` says whether an event
    /// has begun.
    fn next_chunk(&mut self, within: bool) -> Result<(), TraceError> {
        while self.at == self.chunk.len() {
            let Some(chunk) = self.chunks.next() else { return Ok(()) };
            let Chunk { bytes, entry } = chunk?;
            if let Some(first) = entry {
                if within {
                    return Err(self.damaged("is cut off"));
                }
                if first != self.count {
                    return Err(self.damaged(&format!("is said to be event {first}")));
                }
                self.previous = Previous::default();
            }
            (self.chunk, self.at) = (bytes, 0);
        }
        Ok(())
    }

    /// Where the next `len` bytes are: in the chunk, or, if they span several, put together in `record`. Fewer if the
    /// stream ends before. `record` grows with what arrives, never with what is announced.
    fn take(&mut self, len: usize, within: bool) -> Result<Taken, TraceError> {
        if len == 0 {
            return Ok(Taken::InChunk(self.at..self.at));
        }
        self.next_chunk(within)?;
        let start = self.at;
        if self.chunk.len() - start >= len {
            self.at += len;
            return Ok(Taken::InChunk(start..start + len));
        }
        self.record.clear();
        while self.record.len() < len {
            self.next_chunk(within || !self.record.is_empty())?;
            let rest = &self.chunk[self.at..];
            if rest.is_empty() {
                break;
            }
            let some = rest.len().min(len - self.record.len());
            self.record.extend_from_slice(&rest[..some]);
            self.at += some;
        }
        Ok(Taken::Together)
    }

    fn bytes(&self, taken: Taken) -> &[u8] {
        match taken {
            Taken::InChunk(range) => &self.chunk[range],
            Taken::Together => &self.record,
        }
    }

    fn read(&mut self) -> Result<Option<Event>, TraceError> {
        let prefix = self.take(PREFIX, false)?;
        let prefix = self.bytes(prefix);
        if prefix.is_empty() {
            return Ok(None);
        }
        let Ok(prefix) = <[u8; PREFIX]>::try_from(prefix) else {
            return Err(self.damaged("is cut off"));
        };
        let len = u32::from_le_bytes(prefix) as usize;
        if len as u64 > self.most {
            return Err(self.damaged("is longer than can be"));
        }
        let record = self.take(len, true)?;
        let record = self.bytes(record);
        if record.len() < len {
            return Err(self.damaged("is cut off"));
        }
        match postcard::take_from_bytes::<Event>(record) {
            Ok((mut event, [])) => {
                self.previous.put_back(&mut event);
                if self.previous.registers.len() > TASKS {
                    return Err(self.damaged("is of more tasks than can be"));
                }
                self.count += 1;
                Ok(Some(event))
            }
            Ok(_) => Err(self.damaged("has bytes left over")),
            Err(error) => Err(self.damaged(&format!("does not decode: {error}"))),
        }
    }

    fn damaged(&self, how: &str) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), what: format!("event {} {how}", self.count) }
    }
}

impl<'a, I> Iterator for Events<'a, I>
where
    I: Iterator<Item = Result<Chunk<'a>, TraceError>>,
{
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.read().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing;

    #[test]
    fn a_loop_repeats_its_bytes() {
        let mut encoder = Encoder::default();
        encoder.encode(Event::Run { task: TaskId(0), slice: 100, preempts: false }, &mut Vec::new()).unwrap();
        let mut tick = |left| {
            // One register counts with the ticks.
            let position = Position { left, registers: Registers([left; 27]) };
            let mut bytes = Vec::new();
            encoder.encode(Event::Tick(position), &mut bytes).unwrap();
            bytes
        };
        tick(93);
        let second = tick(86);
        assert_eq!(tick(79), second);
        assert_ne!(tick(73), second);
    }

    #[test]
    fn chunks_may_cut_events_anywhere() {
        let (mut encoder, mut stream) = (Encoder::default(), Vec::new());
        let events = testing::every_kind();
        events.iter().for_each(|event| encoder.encode(event.clone(), &mut stream).unwrap());
        for len in [1, 3, 64, stream.len()] {
            // Empty chunks are no end.
            let chunks = stream
                .chunks(len)
                .flat_map(|chunk| [chunk, &[]])
                .map(|chunk| Ok(Chunk { bytes: Cow::Borrowed(chunk), entry: None }));
            let read: Result<Vec<_>, _> = Events::new(chunks, 0, PathBuf::new()).collect();
            assert_eq!(read.unwrap(), events);
        }
    }

    #[test]
    fn decoding_begins_at_any_entry_and_notices_a_wrong_one() {
        let position = |left| Position { left, registers: Registers([left; 27]) };
        let events: Vec<_> = (0..30).map(|n| Event::Tick(position(1000 - 7 * n))).collect();
        let mut encoder = Encoder::default();
        let chunks: Vec<Vec<u8>> = events
            .chunks(10)
            .map(|events| {
                let mut chunk = Vec::new();
                encoder.restart();
                events.iter().for_each(|event| encoder.encode(event.clone(), &mut chunk).unwrap());
                chunk
            })
            .collect();
        let read = |from: usize, entries: [u64; 3], cut: usize| -> Result<Vec<Event>, TraceError> {
            let chunk = |(at, bytes): (usize, &Vec<u8>)| {
                let end = if at == 1 { bytes.len() - cut } else { bytes.len() };
                Ok(Chunk { bytes: Cow::Owned(bytes[..end].to_vec()), entry: Some(entries[at]) })
            };
            Events::new(chunks.iter().enumerate().skip(from).map(chunk), entries[from], PathBuf::new())
                .collect()
        };
        for from in 0..3 {
            assert_eq!(read(from, [0, 10, 20], 0).unwrap(), events[10 * from..]);
        }
        for cut in 1..20 {
            let error = read(1, [0, 10, 20], cut).unwrap_err().to_string();
            assert!(error.contains("cut off") || error.contains("said to be event 20"), "{cut}: {error}");
        }
        let error = read(0, [0, 11, 20], 0).unwrap_err().to_string();
        assert!(error.contains("event 10 is said to be event 11"), "{error}");
    }
}
