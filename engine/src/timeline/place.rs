//! Where a session stands, as far as it is known without counting instructions.

use std::rc::Rc;

use crate::error::Error;
use crate::tracee::Registers;

/// A place in a run: a moment, or how to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many events have happened.
    pub(super) event: u64,
    /// How many ticks since.
    pub(super) ticks: u64,
    /// What has happened since the first moment with so many events and ticks.
    pub(super) since: Rc<Since>,
}

/// What has happened since the first moment with the same events and ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Since {
    base: Base,
    /// How many instructions have been executed after that.
    pub(super) steps: u64,
}

/// From where instructions are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The first moment.
    First,
    /// The running task had these registers, after another place for the `nth` time, counted from 1. If that is the first
    /// moment, it is counted as well.
    Seen { after: Rc<Since>, registers: Box<Registers>, nth: u64 },
}

impl Place {
    /// The first moment with so many events and ticks.
    pub(super) fn first(event: u64, ticks: u64) -> Self {
        Self::exactly(event, ticks, 0)
    }

    /// So many instructions after that.
    pub(super) fn exactly(event: u64, ticks: u64, steps: u64) -> Self {
        Self { event, ticks, since: Rc::new(Since { base: Base::First, steps }) }
    }

    /// Where the running task has these registers for the `nth` time after `after`, which has as many events and ticks; with
    /// it, if it is the first such moment.
    pub(super) fn seen(after: &Self, registers: Registers, nth: u64) -> Self {
        let base = Base::Seen { after: Rc::clone(&after.since), registers: Box::new(registers), nth };
        Self { since: Rc::new(Since { base, steps: 0 }), ..*after }
    }

    /// Where a session is after an instruction from here, with so many events and ticks.
    pub(super) fn stepped(&self, event: u64, ticks: u64) -> Self {
        if self.is_with(event, ticks) {
            let since = Since { base: self.since.base.clone(), steps: self.since.steps + 1 };
            Self { since: Rc::new(since), ..*self }
        } else {
            Self::first(event, ticks)
        }
    }

    /// How many instructions it is after one that is known by its registers.
    pub(super) fn steps_since_seen(&self) -> u64 {
        match self.since.base {
            Base::First => 0,
            Base::Seen { .. } => self.since.steps,
        }
    }

    /// The place that is known by its registers, after which instructions are counted.
    pub(super) fn seen_base(&self) -> Option<Self> {
        let base = self.since.base.clone();
        matches!(base, Base::Seen { .. }).then(|| Self { since: Rc::new(Since { base, steps: 0 }), ..*self })
    }

    /// Whether whoever runs to it finds it: it is known by its registers alone.
    pub(super) fn is_found_by_running(&self) -> bool {
        self.since.steps == 0 && matches!(&self.since.base, Base::Seen { after, .. } if after.is_first())
    }

    /// The registers by which it is known, and for the how manyth time they are there.
    pub(super) fn seen_registers(&self) -> Option<(&Registers, u64)> {
        match &self.since.base {
            Base::Seen { registers, nth, .. } => Some((registers, *nth)),
            Base::First => None,
        }
    }

    /// The error for a replay that does not come by it again.
    pub(super) fn missing(&self) -> Error {
        Error::Bug { what: format!("a moment of event {} is not there when it is looked for", self.event) }
    }

    /// Whether it has so many events and ticks.
    pub(super) fn is_with(&self, event: u64, ticks: u64) -> bool {
        (self.event, self.ticks) == (event, ticks)
    }

    /// How many instructions it is after the first moment with as many events and ticks, if that is known.
    pub(super) fn instructions(&self) -> Option<u64> {
        matches!(self.since.base, Base::First).then_some(self.since.steps)
    }
}

impl Since {
    /// Whether it is the first moment.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.base, Base::First) && self.steps == 0
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_from_the_last_tick() {
        let place = Place::first(3, 1);
        let next = place.stepped(3, 1).stepped(3, 1);
        assert_eq!((next.instructions(), next.is_with(3, 1)), (Some(2), true));
        assert_eq!(next.stepped(3, 2), Place::first(3, 2));
        assert_eq!(next.stepped(4, 0), Place::first(4, 0));
        let seen = Place::seen(&next, Registers::default(), 2).stepped(3, 1);
        assert_eq!(seen.instructions(), None);
        assert_eq!(seen.since.steps, 1);
    }
}
