//! Going back.

use super::hits::{Asked, Hit, Hits};
use super::place::{Base, Place, Since};
use super::stretch::Stretch;
use super::walker::Walker;
use super::{Moment, Setup, Stop, Timeline};
use crate::error::Error;
use crate::replay::{Cursor, Limit, Why, needs_instructions};

/// How many ticks back a walk begins, so that the next steps back are known as well.
const TICKS: u64 = 8;

/// A scan keeps at most so many hits: the last ones.
const MOST: usize = 1 << 16;

/// What was found by going through a run from its beginning.
pub(super) struct Scan {
    asked: Asked,
    /// How far it went: events and ticks.
    until: (u64, u64),
    hits: Vec<(Place, Hit)>,
    /// Whether some were too many to keep.
    is_cut: bool,
    /// The last answer: which hit, and where that stood.
    answered: Option<(usize, Place)>,
}

impl Timeline<'_> {
    /// Returns how many instructions this moment is after the first with as many events and ticks.
    pub(super) fn exact(&mut self) -> Result<u64, Error> {
        let place = self.place();
        let instructions = exact(&self.setup, &place)?;
        if self.rewound.is_none() && place.instructions().is_none() {
            self.walker.place = Place::exactly(place.event, place.ticks, instructions);
        }
        Ok(instructions)
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
        let instructions = self.exact()?;
        let (event, ticks) = self.position();
        let here = Place::exactly(event, ticks, instructions);
        let Some((stretch, walker, at)) = before(&self.setup, &here)? else { return Ok(Stop::Begin) };
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
        let instructions = self.exact()?;
        let (event, ticks) = self.position();
        let here = Place::exactly(event, ticks, instructions);
        let known =
            self.scan.as_ref().filter(|scan| scan.asked == *asked).and_then(|scan| scan.before(&here));
        let found = match known {
            Some(known) => known,
            None => {
                let scan = Scan::run(&self.setup, asked, &here)?;
                let found = scan.hits.len().checked_sub(1);
                self.scan = Some(scan);
                found
            }
        };
        let hit = found.and_then(|at| Some((at, self.scan.as_ref()?.hits.get(at)?.clone())));
        let Some((at, (place, hit))) = hit else {
            self.seek(Moment { event: 1, ticks: 0, instructions: 0 })?;
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
        let instructions = self.exact()?;
        let (event, ticks) = self.position();
        if let Some(scan) = &mut self.scan {
            scan.answered = Some((at, Place::exactly(event, ticks, instructions)));
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

impl Scan {
    /// Goes through the run up to a place whose instructions are known.
    fn run(setup: &Setup<'_>, asked: &Asked, to: &Place) -> Result<Self, Error> {
        let mut scan = Self {
            asked: asked.clone(),
            until: (to.event, to.ticks),
            hits: Vec::new(),
            is_cut: false,
            answered: None,
        };
        let mut walker = Walker::open(setup)?;
        let mut hits = Hits::begin(asked, &mut walker, true);
        // The last tick is walked. What it begins with may have been told.
        let mut is_told = false;
        while !hits.walks() {
            let (event, ticks) = walker.at();
            let limit = match to.ticks {
                _ if event < to.event => Limit::To(to.event),
                1.. if ticks + 1 < to.ticks => Limit::Ticks(to.ticks - 1 - ticks),
                _ => break,
            };
            let report = walker.run(limit)?;
            is_told = matches!(report.why, Why::Breakpoint(_));
            if let Some(hit) = hits.ran(&mut walker, &report)? {
                scan.add(walker.place.clone(), hit);
            }
            if report.why == Why::Ended {
                break;
            }
            if walker.session.is_ahead() {
                // It stands in front of the call that is the tick.
                let (task, why) = (walker.session.state().current(), walker.step()?);
                let (event, ticks) = walker.at();
                walker.place = Place::first(event, ticks);
                if let Some(hit) = hits.watched(&mut walker, task, why)? {
                    scan.add(walker.place.clone(), hit);
                }
            }
        }
        hits.end(&mut walker);
        let mut hits = Hits::begin(asked, &mut walker, false);
        while walker.place != *to && walker.is_before(to) {
            if !std::mem::take(&mut is_told)
                && let Some(hit) = hits.standing(&mut walker)?
            {
                scan.add(walker.place.clone(), hit);
            }
            let (task, why) = (walker.session.state().current(), walker.step()?);
            if why == Why::Ended {
                break;
            }
            if let Some(hit) = hits.watched(&mut walker, task, why)? {
                scan.add(walker.place.clone(), hit);
            }
        }
        hits.end(&mut walker);
        Ok(scan)
    }

    fn add(&mut self, place: Place, hit: Hit) {
        self.hits.push((place, hit));
        if self.hits.len() > MOST {
            self.hits.drain(..MOST / 2);
            self.is_cut = true;
        }
    }

    /// Returns the last hit before a place, or that there is none; nothing if that must be looked for.
    fn before(&self, here: &Place) -> Option<Option<usize>> {
        let (event, ticks) = (here.event, here.ticks);
        let last = match &self.answered {
            Some((at, stood)) if stood == here => at.checked_sub(1),
            _ if (event, ticks) > self.until => return None,
            _ => {
                let earlier = self.hits.partition_point(|(it, _)| (it.event, it.ticks) < (event, ticks));
                // Which of them come before is not known without counting instructions.
                if self.hits.get(earlier).is_some_and(|(it, _)| it.is_with(event, ticks)) {
                    return None;
                }
                earlier.checked_sub(1)
            }
        };
        if last.is_none() && self.is_cut { None } else { Some(last) }
    }
}

/// Returns how many instructions a place is after the first with as many events and ticks.
fn exact(setup: &Setup<'_>, place: &Place) -> Result<u64, Error> {
    if let Some(known) = place.instructions() {
        return Ok(known);
    }
    let mut walker = Walker::open(setup)?;
    walker.go_to_first(place.event, place.ticks)?;
    count(&mut walker, place, &place.since)
}

/// Walks on from the first moment with as many events and ticks, and counts.
fn count(walker: &mut Walker<'_>, place: &Place, since: &Since) -> Result<u64, Error> {
    let mut steps = 0;
    let mut step = |walker: &mut Walker<'_>| {
        walker.step()?;
        steps += 1;
        if walker.place.is_with(place.event, place.ticks) {
            return Ok(());
        }
        let what = format!("a moment of event {} is not there when it is looked for", place.event);
        Err(Error::Bug { what })
    };
    let mut before = 0;
    if let Base::Seen { after, registers, nth } = since.base() {
        before = count(walker, place, after)?;
        let mut left = *nth;
        while left > 0 {
            step(walker)?;
            left -= u64::from(walker.registers()?.as_ref() == Some(registers));
        }
    }
    for _ in 0..since.steps {
        step(walker)?;
    }
    Ok(before + steps)
}

/// Returns the moment before a place whose instructions are known, in a stretch, with the walker that has walked it.
/// None if there is nothing before.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn before<'a>(
    setup: &Setup<'a>,
    place: &Place,
) -> Result<Option<(std::rc::Rc<Stretch>, Walker<'a>, usize)>, Error> {
    let mut walker = Walker::open(setup)?;
    if walker.place == *place {
        return Ok(None);
    }
    begin_before(setup, &mut walker, place)?;
    let (stretch, before) = Stretch::walk(&mut walker, place)?;
    if stretch.len() > 1 {
        let at = stretch.len() - 2;
        return Ok(Some((stretch, walker, at)));
    }
    // The last instruction cannot be undone by hand.
    let Some(before) = before else {
        return Err(Error::Bug { what: format!("nothing comes before event {}", place.event) });
    };
    let mut walker = Walker::open(setup)?;
    if walker.place != before {
        begin_before(setup, &mut walker, &before)?;
    }
    let (stretch, _) = Stretch::walk(&mut walker, &before)?;
    let at = stretch.len().saturating_sub(1);
    Ok((stretch.len() > 0).then_some((stretch, walker, at)))
}

/// Goes to some ticks before a place, so that at least one instruction lies between.
fn begin_before<'a>(setup: &Setup<'a>, walker: &mut Walker<'a>, place: &Place) -> Result<(), Error> {
    if place.ticks > 0 || place.instructions() != Some(0) {
        return walker.go_to_first(place.event, place.ticks.saturating_sub(TICKS));
    }
    // The last instruction is the one that has led to an event.
    let mut events = Cursor::new(setup.trace);
    let mut event = place.event;
    loop {
        event = event.saturating_sub(1);
        events.seek(event);
        if event <= walker.at().0 || events.peek()?.is_some_and(needs_instructions) {
            break;
        }
    }
    let mut scout = Walker::open(setup)?;
    scout.go_to_first(event, 0)?;
    let ticks = scout.session.ticks();
    scout.run(Limit::Event)?;
    walker.go_to_first(event, (scout.session.ticks() - ticks).saturating_sub(TICKS))
}
