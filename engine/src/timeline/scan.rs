//! Looking for the last moment before another one at which something that is asked for happened.
//!
//! A replay only goes forwards, so which one was the last is known once all that lies between was gone through. Where there
//! is little to stop for, that is one replay from the beginning. Where there is much, a look leaps: after some stops it
//! goes on without any to the middle of what is left, again and again, so that it stops often near its end only. What
//! it has leapt over is gone through if nothing was found behind it.

use super::Setup;
use super::hits::{Asked, Hit, Hits};
use super::place::Place;
use super::walker::Walker;
use crate::error::Error;
use crate::replay::{Limit, Point, Report, Why};
use crate::tracee::Registers;

/// After so many stops a look leaps. A stop takes some tens of microseconds.
const STOPS: u64 = 1_000;

/// A leap is not worth while where fewer ticks are left.
const WORTH: u64 = 16;

/// Where each instruction must be looked at, a look begins so many ticks before its end; the next one twice as many.
const NEAR: u64 = 64;

/// So many hits are kept: the last ones.
const MOST: usize = 1 << 16;

/// The first moment with so many events and ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    /// Events, and ticks since.
    at: (u64, u64),
    /// Ticks since the beginning.
    total: u64,
}

impl At {
    const BEGIN: Self = Self { at: (0, 0), total: 0 };

    /// Where a walker has come to.
    fn of(walker: &Walker<'_>) -> Self {
        Self { at: walker.at(), total: walker.session.ticks() }
    }

    /// Where a place is, to which a walker has come, or at most without an event in between.
    pub(super) fn of_place(place: &Place, walker: &Walker<'_>) -> Self {
        let (_, ticks) = walker.at();
        let behind = ticks.saturating_sub(place.ticks);
        Self { at: (place.event, place.ticks), total: walker.session.ticks().saturating_sub(behind) }
    }

    /// One tick later, if that is still before the next event.
    fn next(self) -> Self {
        Self { at: (self.at.0, self.at.1.saturating_add(1)), total: self.total.saturating_add(1) }
    }

    /// So many ticks earlier, at most.
    fn back(self, ticks: u64) -> Self {
        let (event, passed) = self.at;
        let at =
            if passed > 0 { (event, passed.saturating_sub(ticks)) } else { (event.saturating_sub(1), 0) };
        Self { at, total: self.total.saturating_sub(ticks) }
    }
}

/// What is known of where something happens that is asked for.
pub(super) struct Scan {
    asked: Asked,
    /// From where it was not looked yet, up to the next of them or to what is known: in order.
    unseen: Vec<At>,
    known: Section,
    /// The last answer: which hit, and where whoever asked stands since.
    answered: Option<(usize, Place)>,
}

/// A part of the run that was gone through.
#[derive(Debug)]
struct Section {
    from: At,
    /// What has as many events and ticks is in it as far as it comes before the place up to which was looked.
    until: (u64, u64),
    hits: Vec<(Place, Hit)>,
    /// Whether hits before the first were too many to keep.
    is_cut: bool,
}

/// Up to where is looked.
#[derive(Clone, Copy)]
enum Target<'p> {
    /// A place whose instructions are known, or that is found by running.
    Place(&'p Place, At),
    First(At),
}

impl Target<'_> {
    fn at(self) -> At {
        let (Self::Place(_, at) | Self::First(at)) = self;
        at
    }
}

impl Scan {
    /// One that knows nothing yet.
    pub(super) fn new(asked: &Asked) -> Self {
        let known = Section { from: At::BEGIN, until: (0, 0), hits: Vec::new(), is_cut: false };
        Self { asked: asked.clone(), unseen: Vec::new(), known, answered: None }
    }

    /// Whether it looks for this.
    pub(super) fn is_for(&self, asked: &Asked) -> bool {
        self.asked == *asked
    }

    /// Whether [`Self::last`] can answer for a place that is not exactly known.
    pub(super) fn knows(&self, here: &Place) -> bool {
        self.before(here).is_some()
    }

    /// Returns the last hit before a place. If that is not known, the place must be one that is found by running, or whose
    /// instructions are known; where each instruction must be looked at, the latter.
    pub(super) fn last(
        &mut self,
        setup: &Setup<'_>,
        here: &Place,
        at: At,
    ) -> Result<Option<(Place, Hit)>, Error> {
        let mut before = self.before(here);
        self.answered = None;
        if before.is_none() {
            self.unseen = vec![At::BEGIN];
            self.known = Section { from: at, until: at.at, hits: Vec::new(), is_cut: false };
        }
        let mut near = NEAR;
        loop {
            if let Some(found) = before.and_then(|before| before.checked_sub(1)) {
                self.answered = Some((found, here.clone()));
                return Ok(self.known.hits.get(found).cloned());
            }
            let Some(start) = self.unseen.pop() else { return Ok(None) };
            let target = match before {
                None => Target::Place(here, at),
                Some(_) => Target::First(self.known.from),
            };
            let mut from = start;
            if self.asked.walks() {
                from = start.max(target.at().back(near));
                near *= 2;
                self.unseen.extend((from > start).then_some(start));
            }
            let section = look(setup, &self.asked, from, target, &mut self.unseen)?;
            before = Some(section.hits.len());
            self.known.put_in_front(section);
        }
    }

    /// Whoever has asked stands here now, at the last answer.
    pub(super) fn stands(&mut self, place: Place) {
        if let Some((_, stood)) = &mut self.answered {
            *stood = place;
        }
    }

    /// Returns how many of the known hits come before a place; nothing if that is not known.
    fn before(&self, here: &Place) -> Option<usize> {
        let at = (here.event, here.ticks);
        let before = match &self.answered {
            Some((hit, stood)) if stood == here => *hit,
            _ if at < self.known.from.at || at >= self.known.until => return None,
            _ => {
                let earlier = self.known.hits.partition_point(|(it, _)| (it.event, it.ticks) < at);
                // Which of them come before is not known without counting instructions.
                if self.known.hits.get(earlier).is_some_and(|(it, _)| it.is_with(at.0, at.1)) {
                    return None;
                }
                earlier
            }
        };
        (before > 0 || !self.known.is_cut).then_some(before)
    }
}

impl Section {
    fn add(&mut self, place: &Place, hit: Hit) {
        if (place.event, place.ticks) < self.from.at {
            return;
        }
        self.hits.push((place.clone(), hit));
        if self.hits.len() > MOST {
            self.hits.drain(..MOST / 2);
            self.is_cut = true;
        }
    }

    /// Puts a section in front of this one, which begins where that one ends.
    fn put_in_front(&mut self, mut other: Self) {
        other.hits.append(&mut self.hits);
        *self = Self { until: self.until, ..other };
    }
}

/// Goes through the run from `start` to a place. Returns the last section of it that was gone through without a leap, and
/// says from where what is before that is unseen.
fn look(
    setup: &Setup<'_>,
    asked: &Asked,
    start: At,
    target: Target<'_>,
    unseen: &mut Vec<At>,
) -> Result<Section, Error> {
    let mut walker = Walker::open(setup)?;
    let (event, ticks) = start.at;
    if walker.at().0 < event {
        walker.run(Limit::To(event))?;
    }
    // A session that is sent to a tick stands within what counts it.
    let (_, passed) = walker.at();
    if passed < ticks.saturating_sub(1) {
        walker.run(Limit::Ticks(ticks - 1 - passed))?;
    }
    let section = Section { from: start, until: target.at().at, hits: Vec::new(), is_cut: false };
    let mut look = Look { asked, to: target.at(), section, stops: 0, unseen };
    match target {
        Target::Place(place, _) => {
            match place.is_found_by_running().then(|| place.seen_registers()).flatten() {
                Some((registers, nth)) if !asked.walks() => {
                    look.run_to_registers(&mut walker, place, registers, nth)?;
                }
                _ => look.run_to_place(&mut walker, place)?,
            }
        }
        Target::First(at) => look.run_to_first(&mut walker, at.at)?,
    }
    Ok(look.section)
}

/// A replay that goes through a part of the run.
struct Look<'l> {
    asked: &'l Asked,
    to: At,
    section: Section,
    /// Stops since it has begun, or has last leapt.
    stops: u64,
    unseen: &'l mut Vec<At>,
}

impl Look<'_> {
    /// Runs to the first moment with so many events and ticks.
    fn run_to_first(&mut self, walker: &mut Walker<'_>, at: (u64, u64)) -> Result<(), Error> {
        if self.asked.walks() {
            self.walk(walker, false, |walker| walker.at() >= at)?;
        } else {
            self.run(walker, at)?;
        }
        self.section.hits.retain(|(place, _)| (place.event, place.ticks) < at);
        Ok(())
    }

    /// Runs to a place whose instructions are known.
    fn run_to_place(&mut self, walker: &mut Walker<'_>, to: &Place) -> Result<(), Error> {
        // The last tick is walked. What that begins with may have been told.
        let is_told = !self.asked.walks() && self.run(walker, (to.event, to.ticks.saturating_sub(1)))?;
        self.walk(walker, is_told, |walker| walker.place == *to || !walker.is_before(to))
    }

    /// Runs until there are so many events and ticks. Returns whether it stands at something that it was stopped for.
    fn run(&mut self, walker: &mut Walker<'_>, to: (u64, u64)) -> Result<bool, Error> {
        let mut is_told = false;
        let mut hits = Hits::begin(self.asked, walker, true);
        while walker.at() < to {
            let (event, ticks) = walker.at();
            let limit = if event < to.0 { Limit::To(to.0) } else { Limit::Ticks(to.1 - ticks) };
            let report = walker.run(limit)?;
            is_told = matches!(report.why, Why::Breakpoint(_));
            if let Some(hit) = hits.ran(walker, &report)? {
                self.section.add(&walker.place, hit);
            }
            if report.why == Why::Ended {
                break;
            }
            if walker.session.is_ahead() {
                // It stands in front of the call that is the tick.
                let (task, why) = (walker.session.state().current(), walker.step()?);
                let (event, ticks) = walker.at();
                walker.place = Place::first(event, ticks);
                if let Some(hit) = hits.watched(walker, task, why)? {
                    self.section.add(&walker.place, hit);
                }
            }
            if let Some(ticks) = self.leap(walker, &report) {
                hits.end(walker);
                self.land(walker, ticks)?;
                hits = Hits::begin(self.asked, walker, true);
            }
        }
        hits.end(walker);
        Ok(is_told)
    }

    /// Runs to where the running task has these registers for the `nth` time since the first moment with the events and
    /// ticks of `to`.
    fn run_to_registers(
        &mut self,
        walker: &mut Walker<'_>,
        to: &Place,
        registers: &Registers,
        nth: u64,
    ) -> Result<(), Error> {
        // The place may be none that is asked for.
        let point = Point::Execute(registers.ip());
        let mut hits = Hits::begin(self.asked, walker, true);
        walker.session.stop_at(point);
        let mut left = nth;
        loop {
            let limit = if walker.at().0 < to.event { Limit::To(to.event) } else { Limit::End };
            let report = walker.run(limit)?;
            let hit = hits.ran(walker, &report)?;
            // What is watched may have been written just before.
            let is_stop = matches!(report.why, Why::Breakpoint(_) | Why::Watchpoint(_));
            let is_like_it = is_stop
                && to.is_with(report.event, report.ticks)
                && walker.registers()?.as_ref() == Some(registers);
            left -= u64::from(is_like_it);
            let is_there = is_like_it && left == 0;
            if let Some(hit) = hit.filter(|hit| !is_there || matches!(hit, Hit::Watchpoint(..))) {
                self.section.add(&walker.place, hit);
            }
            if is_there {
                return Ok(());
            }
            if report.why == Why::Ended || (to.event, to.ticks) < (report.event, report.ticks) {
                return Err(to.missing());
            }
            if let Some(ticks) = self.leap(walker, &report) {
                hits.end(walker);
                walker.session.stop_no_more_at(point);
                self.land(walker, ticks)?;
                hits = Hits::begin(self.asked, walker, true);
                walker.session.stop_at(point);
            }
        }
    }

    /// Walks by instructions until it is there.
    fn walk(
        &mut self,
        walker: &mut Walker<'_>,
        mut is_told: bool,
        is_there: impl Fn(&Walker<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut hits = Hits::begin(self.asked, walker, false);
        while !is_there(walker) {
            if !std::mem::take(&mut is_told)
                && let Some(hit) = hits.standing(walker)?
            {
                self.section.add(&walker.place, hit);
            }
            let (task, why) = (walker.session.state().current(), walker.step()?);
            if why == Why::Ended {
                break;
            }
            if let Some(hit) = hits.watched(walker, task, why)? {
                self.section.add(&walker.place, hit);
            }
        }
        hits.end(walker);
        Ok(())
    }

    /// Counts a stop. Returns how many ticks to leap, if there were enough.
    fn leap(&mut self, walker: &Walker<'_>, report: &Report) -> Option<u64> {
        self.stops += u64::from(matches!(report.why, Why::Breakpoint(_) | Why::Watchpoint(_)));
        let here = At::of(walker);
        let ticks = self.to.total.saturating_sub(here.total);
        (self.stops >= STOPS && ticks >= WORTH && here.at > self.section.from.at).then_some(ticks / 2)
    }

    /// Leaps, and begins a section behind.
    fn land(&mut self, walker: &mut Walker<'_>, ticks: u64) -> Result<(), Error> {
        let here = At::of(walker);
        walker.run(Limit::Ticks(ticks))?;
        self.unseen.extend([self.section.from, here]);
        let from = At::of(walker).next();
        self.section = Section { from, until: self.section.until, hits: Vec::new(), is_cut: false };
        self.stops = 0;
        Ok(())
    }
}
