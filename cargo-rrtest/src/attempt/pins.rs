//! What a run tells of its pins.

use std::sync::Arc;

use crate::discover::test::Test;
use crate::ending::explanation::Place;

/// A pin that has been tried.
#[derive(Debug)]
pub(crate) struct PinTried {
    /// The test.
    pub(crate) test: Arc<Test>,
    /// The pin's file, as people would name it from here.
    pub(crate) file: Arc<str>,
    /// Attempts that were made.
    pub(crate) attempts: u64,
    /// Whether one of them failed.
    pub(crate) fails: bool,
    /// The places that the test does not come to any more.
    pub(crate) gone: Vec<Place>,
}

impl PinTried {
    /// What to say if the pin says nothing any more.
    pub(crate) fn warning(&self) -> Option<String> {
        let Place { function, file, line, text, .. } = self.gone.first()?;
        let now = if self.fails {
            "fails still where that was"
        } else {
            "passes where that was, which says nothing"
        };
        Some(format!(
            "{}: the place of its preemption is gone, in {function} at {file}:{line}  {text}\n  the test {now}\n  pin the \
             failure again if there is one, and delete the file",
            self.file
        ))
    }
}

/// How pins stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PinCounts {
    /// Those under which the test passes.
    pub(crate) hold: u64,
    /// Those under which it fails.
    pub(crate) fail: u64,
    /// Those that say nothing, as a place is gone.
    pub(crate) gone: u64,
}

impl PinCounts {
    /// Takes notice of one.
    pub(crate) fn count(&mut self, tried: &PinTried) {
        let PinTried { fails, gone, .. } = tried;
        match (fails, gone.is_empty()) {
            (true, _) => self.fail += 1,
            (false, true) => self.hold += 1,
            (false, false) => self.gone += 1,
        }
    }
}
