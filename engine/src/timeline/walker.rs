//! A session that knows where it stands.

use super::Setup;
use super::place::{Base, Place, Since};
use crate::error::Error;
use crate::replay::{Control, Limit, Point, Report, Session, Why};
use crate::tracee::Registers;

/// A session at a place.
pub(super) struct Walker<'a> {
    pub(super) session: Session<'a>,
    pub(super) place: Place,
}

impl<'a> Walker<'a> {
    /// One before the first instruction.
    pub(super) fn open(setup: &Setup<'a>) -> Result<Self, Error> {
        let control =
            Control { stop: setup.interrupt, patience: setup.patience, output: setup.shown.again() };
        let mut session = Session::begin(setup.trace, setup.core, control)?;
        session.settle()?;
        let place = Place::first(session.state().event(), 0);
        Ok(Self { session, place })
    }

    /// How many events have happened, and how many ticks since.
    pub(super) fn at(&self) -> (u64, u64) {
        self.session.position()
    }

    /// Whether it comes to this place by going on.
    pub(super) fn is_before(&self, place: &Place) -> bool {
        let (here, there) = ((self.place.event, self.place.ticks), (place.event, place.ticks));
        here < there
            || here == there
                && match (self.place.instructions(), place.instructions()) {
                    (Some(here), Some(there)) => here <= there,
                    _ => self.place == *place,
                }
    }

    /// Executes an instruction of the running task, and what needs none. Returns why it has ended there.
    pub(super) fn step(&mut self) -> Result<Why, Error> {
        if self.session.ended().is_some() {
            return Ok(Why::Ended);
        }
        let report = self.session.step(Limit::Instruction)?;
        let settled = self.session.settle()?;
        let (event, ticks) = self.at();
        self.place = self.place.stepped(event, ticks);
        Ok(match (report.why, settled) {
            (Why::Instruction | Why::Event, Some(why)) => why,
            (why, _) => why,
        })
    }

    /// Goes on with what is asked of the session. The place is the first with as many events and ticks: the caller
    /// knows better.
    pub(super) fn run(&mut self, limit: Limit) -> Result<Report, Error> {
        let mut report = self.session.step(limit)?;
        if report.why != Why::Ended {
            let settled = self.session.settle()?;
            if report.why == Why::Event {
                report.why = settled.unwrap_or(Why::Event);
            }
        }
        let (event, ticks) = self.at();
        // What happened there without an instruction has happened at its end.
        report.between |= event != report.event;
        (report.event, report.ticks) = (event, ticks);
        self.place = Place::first(event, ticks);
        Ok(report)
    }

    /// Goes to a place that is not before this one.
    pub(super) fn go_to(&mut self, place: &Place) -> Result<(), Error> {
        if self.place == *place {
            return Ok(());
        }
        if let (true, Some(here), Some(there)) =
            (self.place.is_with(place.event, place.ticks), self.place.instructions(), place.instructions())
        {
            for _ in here..there {
                if self.step()? == Why::Ended || !self.place.is_with(place.event, place.ticks) {
                    break;
                }
            }
            return Ok(());
        }
        self.go_to_first(place.event, place.ticks)?;
        self.go_since(place, &place.since)
    }

    /// Goes to the first moment with so many events and ticks, or, if there is none, to the next one.
    pub(super) fn go_to_first(&mut self, event: u64, ticks: u64) -> Result<(), Error> {
        if self.at().0 < event && self.run(Limit::To(event))?.why == Why::Ended {
            return Ok(());
        }
        // A session that is sent to a tick stands within what counts it. So it is sent to the one before, and walks.
        let (now, passed) = self.at();
        if now == event
            && passed < ticks.saturating_sub(1)
            && self.run(Limit::TicksWithin(ticks - 1 - passed))?.why == Why::Ended
        {
            return Ok(());
        }
        while self.at() < (event, ticks) {
            if self.step()? == Why::Ended {
                break;
            }
        }
        let (event, ticks) = self.at();
        self.place = Place::first(event, ticks);
        Ok(())
    }

    /// Goes on from the first moment with the events and ticks of `place`.
    fn go_since(&mut self, place: &Place, since: &Since) -> Result<(), Error> {
        if let Base::Seen { after, registers, nth } = since.base() {
            self.go_since(place, after)?;
            let is_here = after.is_first() && self.registers()?.as_ref() == Some(&**registers);
            self.go_to_registers(registers, nth.saturating_sub(is_here.into()))?;
            let (event, ticks) = self.at();
            if !place.is_with(event, ticks) {
                return Err(place.missing());
            }
            self.place = place.clone();
        }
        for _ in 0..since.steps {
            if !place.is_with(self.at().0, self.at().1) || self.step()? == Why::Ended {
                break;
            }
        }
        Ok(())
    }

    /// Goes to where the running task has these registers for the `nth` time from here.
    fn go_to_registers(&mut self, registers: &Registers, nth: u64) -> Result<(), Error> {
        if nth == 0 {
            return Ok(());
        }
        self.session.pass()?;
        let point = Point::Execute(registers.ip());
        self.session.stop_at(point);
        let mut seen = 0;
        let outcome = loop {
            match self.session.step(Limit::End) {
                Ok(report) if matches!(report.why, Why::Breakpoint(_)) => {
                    match self.registers() {
                        Ok(found) => seen += u64::from(found.as_ref() == Some(registers)),
                        Err(error) => break Err(error),
                    }
                    if seen == nth {
                        break Ok(());
                    }
                }
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.session.stop_no_more_at(point);
        outcome?;
        self.session.settle().map(drop)
    }

    /// Returns the registers of the running task.
    pub(super) fn registers(&mut self) -> Result<Option<Registers>, Error> {
        let current = self.session.state().current();
        Ok(self.session.registers(current)?.map(Registers::of_user_code))
    }
}
