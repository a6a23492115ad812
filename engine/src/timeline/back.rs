//! Going back.

use std::rc::Rc;

use super::code;
use super::hits::{Asked, Breakpoint, Hit};
use super::place::{Base, Place, Since};
use super::scan::{At, Scan};
use super::stretch::Stretch;
use super::walker::Walker;
use super::{Setup, Stop, Timeline};
use crate::error::Error;
use crate::replay::{Cursor, Limit, needs_instructions};
use crate::tracee::{Registers, SYSCALL_LEN};

/// `syscall` (Intel SDM, volume 2).
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// How many ticks back a walk begins, so that the next steps back are known as well.
const TICKS: u64 = 8;

impl Timeline<'_> {
    /// Returns how many instructions this moment is after the first with as many events and ticks; nothing if they are more
    /// than `most`.
    pub(super) fn exact(&mut self, most: u64) -> Result<Option<u64>, Error> {
        let place = self.place();
        if let Some((_, instructions)) = self.counted.as_ref().filter(|(counted, _)| *counted == place) {
            return Ok(Some(*instructions));
        }
        let instructions = exact(&self.setup, &place, most)?;
        self.counted = instructions.map(|instructions| (place, instructions));
        Ok(instructions)
    }

    /// Where it stands, by instructions, however many they are.
    fn exactly(&mut self) -> Result<Place, Error> {
        let instructions = self.exact(u64::MAX)?.ok_or_else(uncounted)?;
        let (event, ticks) = self.position();
        Ok(Place::exactly(event, ticks, instructions))
    }

    /// Undoes the last instruction, of whichever task.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn step_back(&mut self) -> Result<Stop, Error> {
        let stepped = self.undo();
        self.went_back(stepped)
    }

    fn undo(&mut self) -> Result<Stop, Error> {
        if let Some((_, at)) = &mut self.rewound
            && *at > 0
        {
            *at -= 1;
            return Ok(Stop::Stepped);
        }
        let here = self.place();
        if here == self.begin {
            return Ok(Stop::Begin);
        }
        let current = self.current();
        let registers = self.registers(current)?;
        let addresses = registers.as_ref().map(|registers| {
            let top = self.read(current, registers.sp(), 8).ok().and_then(|bytes| bytes.try_into().ok());
            code::before(&self.walker.session, current, registers, top.map(u64::from_le_bytes))
        });
        let at = At::of_place(&here, &self.walker);
        let here = Here { place: here, at, registers, addresses: addresses.unwrap_or_default() };
        let Some((stretch, walker, at)) = before(&self.setup, &here)? else {
            return Ok(Stop::Begin);
        };
        self.walker = walker;
        self.rewound = Some((stretch, at));
        Ok(Stop::Stepped)
    }

    /// Goes back to where something that is asked for last happened, or to the beginning. Where memory was written, it
    /// is about to be.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn run_back(&mut self, asked: &Asked) -> Result<Stop, Error> {
        let found = self.find_back(asked);
        self.went_back(found)
    }

    fn find_back(&mut self, asked: &Asked) -> Result<Stop, Error> {
        let mut here = self.place();
        let at = At::of_place(&here, &self.walker);
        let known = self.scan.take().filter(|scan| scan.is_for(asked));
        let mut scan = known.unwrap_or_else(|| Scan::new(asked));
        if !scan.knows(&here) && (asked.walks() || !here.is_found_by_running()) {
            here = self.exactly()?;
        }
        let found = scan.last(&self.setup, &here, at)?;
        self.scan = Some(scan);
        let Some((place, hit)) = found else {
            self.walker_to(&self.begin.clone())?;
            return Ok(Stop::Begin);
        };
        self.walker_to(&place)?;
        let stop = match hit {
            Hit::Breakpoint(task, address) => Stop::Breakpoint(task, address),
            Hit::Watchpoint(task, address) => {
                self.undo()?;
                Stop::Watchpoint(task, address)
            }
        };
        let stands = self.place();
        if let Some(scan) = &mut self.scan {
            scan.stands(stands);
        }
        Ok(stop)
    }

    fn went_back(&mut self, stop: Result<Stop, Error>) -> Result<Stop, Error> {
        match stop {
            // What stopped was a replay beside: this one is where it was.
            Err(Error::Stopped) => {
                self.setup.go_on();
                Ok(Stop::Interrupted)
            }
            stop => stop,
        }
    }
}

/// Returns how many instructions a place is after the first with as many events and ticks; nothing if they are more than
/// `most`.
fn exact(setup: &Setup<'_>, place: &Place, most: u64) -> Result<Option<u64>, Error> {
    if let Some(known) = place.instructions() {
        return Ok(Some(known));
    }
    let mut walker = Walker::open(setup)?;
    walker.go_to_first(place.event, place.ticks)?;
    count(&mut walker, place, &place.since, most)
}

/// Walks on from the first moment with as many events and ticks, and counts, up to `most`.
fn count(walker: &mut Walker<'_>, place: &Place, since: &Since, most: u64) -> Result<Option<u64>, Error> {
    let mut steps = 0;
    if let Base::Seen { after, registers, nth } = since.base() {
        let Some(before) = count(walker, place, after, most)? else { return Ok(None) };
        steps = before;
        let is_here = after.is_first() && walker.registers()?.as_ref() == Some(&**registers);
        let mut left = nth.saturating_sub(is_here.into());
        while left > 0 {
            if steps == most {
                return Ok(None);
            }
            step(walker, place)?;
            steps += 1;
            left -= u64::from(walker.registers()?.as_ref() == Some(registers));
        }
    }
    for _ in 0..since.steps {
        if steps == most {
            return Ok(None);
        }
        step(walker, place)?;
        steps += 1;
    }
    Ok(Some(steps))
}

/// Executes an instruction, after which there are as many events and ticks as at a place.
fn step(walker: &mut Walker<'_>, place: &Place) -> Result<(), Error> {
    walker.step()?;
    if walker.place.is_with(place.event, place.ticks) {
        return Ok(());
    }
    Err(place.missing())
}

pub(super) fn uncounted() -> Error {
    Error::Bug { what: "instructions were not counted".to_owned() }
}

/// A moment in a stretch, with the walker that has walked it.
type Found<'a> = (Rc<Stretch>, Walker<'a>, usize);

/// A moment from which a step back is made.
struct Here {
    place: Place,
    at: At,
    /// The running task's registers.
    registers: Option<Registers>,
    /// Instructions by which it must have come shortly before.
    addresses: Vec<u64>,
}

/// Returns the moment before another one, which is not the beginning. None if a walk does not come by one.
fn before<'a>(setup: &Setup<'a>, here: &Here) -> Result<Option<Found<'a>>, Error> {
    let place = &here.place;
    if let Some(from) = near(setup, here)?
        && let Some(found) = walked(setup, place, here.registers.as_ref(), |walker| walker.go_to(&from))?
    {
        return Ok(Some(found));
    }
    let place = match place.seen_base() {
        Some(_) if place.steps_since_seen() == 0 => {
            let instructions = exact(setup, place, u64::MAX)?.ok_or_else(uncounted)?;
            Place::exactly(place.event, place.ticks, instructions)
        }
        _ => place.clone(),
    };
    walked(setup, &place, None, |walker| begin_before(setup, walker, &place))
}

/// Walks from where `begin` has a walker stand to a place, or to where the task has these registers in the same tick. Returns
/// the moment before; none if the walk has not come there.
fn walked<'a>(
    setup: &Setup<'a>,
    place: &Place,
    registers: Option<&Registers>,
    begin: impl FnOnce(&mut Walker<'a>) -> Result<(), Error>,
) -> Result<Option<Found<'a>>, Error> {
    let mut walker = Walker::open(setup)?;
    begin(&mut walker)?;
    let (stretch, before) = Stretch::walk(&mut walker, place, registers)?;
    if walker.place != *place {
        return Ok(None);
    }
    if stretch.len() > 1 {
        let at = stretch.len() - 2;
        return Ok(Some((stretch, walker, at)));
    }
    // The last instruction cannot be undone by hand.
    let Some(before) = before else { return Ok(None) };
    let mut walker = Walker::open(setup)?;
    walker.go_to(&before)?;
    let (stretch, _) = Stretch::walk(&mut walker, &before, None)?;
    Ok(stretch.len().checked_sub(1).map(|at| (stretch, walker, at)))
}

/// Returns a place shortly before another one, if one is found by running: where the task has last come by an instruction
/// that it must have come by.
fn near(setup: &Setup<'_>, here: &Here) -> Result<Option<Place>, Error> {
    let place = &here.place;
    if place.steps_since_seen() > 0 {
        return Ok(place.seen_base());
    }
    // Where registers are the same twice it takes more to tell when it was.
    let is_found = place.is_found_by_running() && place.seen_registers().is_some_and(|(_, nth)| nth == 1);
    let addresses = match place {
        _ if is_found => here.addresses.clone(),
        // The last instruction was the system call that the event is about.
        first if *first == Place::first(place.event, 0) => {
            let mut walker = Walker::open(setup)?;
            walker.go_to_first(last_run(setup, place.event)?, 0)?;
            let caller = walker.session.state().current();
            walker.go_to_first(place.event, 0)?;
            let behind = walker.session.registers(caller)?.map_or(0, |registers| registers.ip());
            let call = behind.saturating_sub(SYSCALL_LEN);
            let code = walker.session.read(caller, call, SYSCALL.len()).unwrap_or_default();
            if code == SYSCALL { vec![call] } else { Vec::new() }
        }
        _ => return Ok(None),
    };
    if addresses.is_empty() {
        return Ok(None);
    }
    let breakpoints = addresses.into_iter().map(|address| Breakpoint { address, conditions: Vec::new() });
    let asked = Asked { breakpoints: breakpoints.collect(), ..Asked::default() };
    let last = Scan::new(&asked).last(setup, place, here.at)?;
    Ok(last.map(|(place, _)| place))
}

/// Returns the number of the last event before one that takes instructions.
fn last_run(setup: &Setup<'_>, before: u64) -> Result<u64, Error> {
    let mut events = Cursor::new(setup.trace);
    let mut event = before;
    loop {
        event = event.saturating_sub(1);
        events.seek(event);
        if event <= 1 || events.peek()?.is_some_and(needs_instructions) {
            return Ok(event);
        }
    }
}

/// Goes to some ticks before a place, so that at least one instruction lies between.
fn begin_before<'a>(setup: &Setup<'a>, walker: &mut Walker<'a>, place: &Place) -> Result<(), Error> {
    if let Some(base) = place.seen_base() {
        return walker.go_to(&base);
    }
    if place.ticks > 0 || place.instructions() != Some(0) {
        return walker.go_to_first(place.event, place.ticks.saturating_sub(TICKS));
    }
    // The last instruction is the one that has led to an event.
    let event = last_run(setup, place.event)?.max(walker.at().0);
    let mut scout = Walker::open(setup)?;
    scout.go_to_first(event, 0)?;
    let ticks = scout.session.ticks();
    scout.run(Limit::Event)?;
    walker.go_to_first(event, scout.session.ticks().saturating_sub(ticks).saturating_sub(TICKS))
}
