//! The program's output, once, however often a part of the run is passed.

use std::cell::RefCell;
use std::rc::Rc;

use crate::replay::Sink;

/// What has been shown of a program's output. Each replay of it says the same again, from the first byte on.
#[derive(Clone)]
pub(super) struct Shown<'a>(Rc<RefCell<Inner<'a>>>);

struct Inner<'a> {
    /// Bytes, of all streams together.
    shown: usize,
    output: Sink<'a>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(output: Sink<'a>) -> Self {
        Self(Rc::new(RefCell::new(Inner { shown: 0, output })))
    }

    /// What a replay that begins gives its output to.
    pub(super) fn again(&self) -> Sink<'a> {
        let (inner, mut said) = (Rc::clone(&self.0), 0);
        Box::new(move |stream, bytes| {
            let mut inner = inner.borrow_mut();
            let old = inner.shown.saturating_sub(said).min(bytes.len());
            said += bytes.len();
            if old < bytes.len() {
                inner.shown = said;
                (inner.output)(stream, &bytes[old..]);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::event::Stream;

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let text = RefCell::new(String::new());
        let shown =
            Shown::new(Box::new(|_, bytes| text.borrow_mut().push_str(&String::from_utf8_lossy(bytes))));
        let mut first = shown.again();
        first(Stream::Stdout, b"one ");
        let mut second = shown.again();
        second(Stream::Stdout, b"o");
        second(Stream::Stdout, b"ne two");
        first(Stream::Stdout, b"two three");
        second(Stream::Stdout, b" three four");
        drop((first, second));
        assert_eq!(*text.borrow(), "one two three four");
    }
}
