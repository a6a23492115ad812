//! A stretch of a run that was walked by instructions: it can be looked at anywhere in it, without a replay.

use std::rc::Rc;

use super::place::Place;
use super::walker::Walker;
use crate::error::Error;
use crate::replay::Why;
use crate::task::TaskId;
use crate::tracee::{Registers, writes};

/// Moments one after another, each an instruction of the same task after the one before, without an event in between.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    moments: Vec<Walked>,
}

#[derive(Debug)]
struct Walked {
    place: Place,
    task: TaskId,
    registers: Registers,
    /// What the next instruction overwrites, and where.
    overwritten: Vec<(u64, Vec<u8>)>,
}

/// A stretch has at most so many moments: the last ones.
const MOST: usize = 20_000;

/// Bytes of the longest instruction (Intel SDM, volume 2, 2.3.11).
const LONGEST: usize = 15;

impl Stretch {
    /// Walks to a place whose instructions are known. Returns the stretch that ends there, and the moment before, if the
    /// walk has come by one.
    pub(super) fn walk(walker: &mut Walker<'_>, to: &Place) -> Result<(Rc<Self>, Option<Place>), Error> {
        let mut stretch = Self::default();
        let mut before = None;
        while walker.place != *to && walker.is_before(to) {
            let here = stretch.here(walker)?;
            let (event, task) = (here.as_ref().map(|it| it.place.event), here.as_ref().map(|it| it.task));
            before = Some(walker.place.clone());
            if walker.step()? == Why::Ended {
                break;
            }
            let goes_on = event == Some(walker.place.event) && task == Some(walker.session.state().current());
            match here.filter(|_| goes_on) {
                Some(here) => stretch.moments.push(here),
                None => stretch.moments.clear(),
            }
            if stretch.moments.len() > MOST {
                stretch.moments.drain(..MOST / 2);
            }
        }
        if let Some(registers) = walker.registers()? {
            let task = walker.session.state().current();
            let place = walker.place.clone();
            stretch.moments.push(Walked { place, task, registers, overwritten: Vec::new() });
        }
        Ok((Rc::new(stretch), before))
    }

    /// The moment at which a walker stands, if what the next instruction does can be undone.
    fn here(&self, walker: &mut Walker<'_>) -> Result<Option<Walked>, Error> {
        let task = walker.session.state().current();
        let Some(registers) = walker.registers()? else { return Ok(None) };
        let session = &walker.session;
        let code = (1..=LONGEST).rev().find_map(|len| session.read(task, registers.ip(), len).ok());
        let Some(written) = code.and_then(|code| writes(&code, &registers)) else { return Ok(None) };
        let old = |(address, len)| session.read(task, address, len).ok().map(|bytes| (address, bytes));
        let overwritten: Option<Vec<_>> = written.into_iter().map(old).collect();
        let place = walker.place.clone();
        Ok(overwritten.map(|overwritten| Walked { place, task, registers, overwritten }))
    }

    /// Returns how many moments it has.
    pub(super) fn len(&self) -> usize {
        self.moments.len()
    }

    pub(super) fn place(&self, at: usize) -> Place {
        self.moments[at].place.clone()
    }

    pub(super) fn task(&self, at: usize) -> TaskId {
        self.moments[at].task
    }

    pub(super) fn registers(&self, at: usize) -> Registers {
        self.moments[at].registers
    }

    /// Undoes, in bytes from an address on that were read at its end, what was written since the moment `at`.
    pub(super) fn rewind(&self, at: usize, address: u64, bytes: &mut [u8]) {
        let end = address.saturating_add(bytes.len() as u64);
        for (start, old) in self.moments[at..].iter().rev().flat_map(|it| &it.overwritten) {
            for (byte, old) in (*start..).zip(old).filter(|(byte, _)| (address..end).contains(byte)) {
                bytes[(byte - address) as usize] = *old;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_as_it_was() {
        let walked = |overwritten: &[(u64, &[u8])]| Walked {
            place: Place::first(1, 0),
            task: TaskId(0),
            registers: Registers::default(),
            overwritten: overwritten.iter().map(|(at, old)| (*at, old.to_vec())).collect(),
        };
        let stretch = Stretch {
            moments: vec![walked(&[(10, &[1, 2])]), walked(&[(11, &[7, 8]), (90, &[9])]), walked(&[])],
        };
        let at = |moment: usize, address: u64| {
            let mut bytes = [100, 101, 102, 103];
            stretch.rewind(moment, address, &mut bytes);
            bytes
        };
        assert_eq!(at(2, 10), [100, 101, 102, 103]);
        assert_eq!(at(1, 10), [100, 7, 8, 103]);
        assert_eq!(at(0, 10), [1, 2, 8, 103]);
        assert_eq!(at(0, 8), [100, 101, 1, 2]);
        assert_eq!(at(0, 12), [8, 101, 102, 103]);
        assert_eq!(at(0, u64::MAX - 1), [100, 101, 102, 103]);
    }
}
