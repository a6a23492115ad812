//! A place in a trace's events.

use std::fmt;

use crate::trace::event::Event;
use crate::trace::{Source, TraceError};

type Events<'a> = Box<dyn Iterator<Item = Result<Event, TraceError>> + 'a>;

/// A place in a trace's events, in front of one. It can be put in front of any other, and copied: what it takes to
/// read on from there is a block of the trace.
pub struct Cursor<'a> {
    source: &'a dyn Source,
    /// The number of the event that it is in front of.
    at: u64,
    /// That event, once it has been looked at.
    ahead: Option<Event>,
    /// What follows, as long as it is read in order.
    events: Option<Events<'a>>,
}

impl<'a> Cursor<'a> {
    /// In front of the first event, which has number 0.
    #[must_use]
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, at: 0, ahead: None, events: None }
    }

    /// The number of the event that it is in front of.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Put it in front of the event of this number; one past the last is the end.
    pub fn seek(&mut self, at: u64) {
        if at != self.at {
            *self = Self { at, ..Self::new(self.source) };
        }
    }

    /// The event that it is in front of; none at the end.
    ///
    /// # Errors
    /// If the trace is damaged there.
    pub fn peek(&mut self) -> Result<Option<&Event>, TraceError> {
        if self.ahead.is_none() {
            let source = self.source;
            let events = self.events.get_or_insert_with(|| source.events_from(self.at));
            match events.next().transpose() {
                Ok(event) => self.ahead = event,
                Err(error) => {
                    // It is told as often as it is asked for.
                    self.events = None;
                    return Err(error);
                }
            }
        }
        Ok(self.ahead.as_ref())
    }

    /// The event that it is in front of; it is behind that then.
    ///
    /// # Errors
    /// If the trace is damaged there.
    pub fn take(&mut self) -> Result<Option<Event>, TraceError> {
        self.peek()?;
        let event = self.ahead.take();
        self.at += u64::from(event.is_some());
        Ok(event)
    }
}

impl Clone for Cursor<'_> {
    fn clone(&self) -> Self {
        Self { at: self.at, ..Self::new(self.source) }
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::log::Log;

    fn log(events: u64) -> Log {
        // Several blocks: each event has some kilobytes.
        let mut log = Log::with_memory(2 << 20);
        (0..events).for_each(|n| log.push(Event::Buffered(n.to_le_bytes().repeat(1000))));
        log
    }

    fn number(event: Option<&Event>) -> Option<u64> {
        match event? {
            Event::Buffered(log) => Some(u64::from_le_bytes(*log.first_chunk().unwrap())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_goes_on_from_wherever_it_is_put() {
        let log = log(1000);
        let mut cursor = Cursor::new(&log);
        for at in [0, 999, 500, 501, 131, 130, 998, 0] {
            cursor.seek(at);
            assert_eq!(number(cursor.peek().unwrap()), Some(at));
            for expected in at..(at + 150).min(1000) {
                assert_eq!(cursor.position(), expected);
                assert_eq!(number(cursor.take().unwrap().as_ref()), Some(expected));
            }
        }
        cursor.seek(1000);
        assert_eq!(cursor.take().unwrap(), None);
        assert_eq!(cursor.position(), 1000, "the end is no event");
        cursor.seek(u64::MAX);
        assert_eq!(cursor.peek().unwrap(), None);
    }

    #[test]
    fn a_copy_goes_its_own_way() {
        let log = log(300);
        let mut first = Cursor::new(&log);
        first.seek(200);
        first.peek().unwrap();
        let mut second = first.clone();
        assert_eq!(number(second.take().unwrap().as_ref()), Some(200));
        assert_eq!(number(second.take().unwrap().as_ref()), Some(201));
        assert_eq!((first.position(), number(first.take().unwrap().as_ref())), (200, Some(200)));
        second.seek(0);
        assert_eq!((first.position(), number(second.peek().unwrap())), (201, Some(0)));
    }
}
