//! Going forwards.

use super::hits::{Asked, Hit, Hits};
use super::walker::Walker;
use super::{Setup, Stop, Timeline};
use crate::error::Error;
use crate::replay::{Limit, Why};
use crate::task::TaskId;

/// How many ticks are run at a time: after each of them the place is known, if somebody asks for an end.
const LEG: u64 = 10_000_000;

impl Timeline<'_> {
    /// Executes one instruction of a task, after whatever others do before it gets the core. They stop for what is
    /// asked.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn step(&mut self, task: TaskId, asked: &Asked) -> Result<Stop, Error> {
        self.arrive()?;
        let setup = &self.setup;
        let walker = &mut self.walker;
        let stop = if walker.session.ended().is_some() {
            Ok(Stop::End)
        } else if walker.session.state().current() == task {
            watched(walker, asked, false, |walker, hits| {
                let why = walker.step()?;
                Ok(match hits.watched(walker, task, why)? {
                    Some(Hit::Watchpoint(task, address)) => Stop::Watchpoint(task, address),
                    // It has been stepped to, which is what was asked for.
                    _ if why == Why::Ended => Stop::End,
                    _ => Stop::Stepped,
                })
            })
        } else {
            watched(walker, asked, true, |walker, hits| run(setup, walker, hits, Some(task)))
        };
        self.stopped(stop)
    }

    /// Goes on until something that is asked for happens, or to the end.
    ///
    /// # Errors
    /// If the replay diverges.
    pub fn run(&mut self, asked: &Asked) -> Result<Stop, Error> {
        self.arrive()?;
        let setup = &self.setup;
        let stop = watched(&mut self.walker, asked, true, |walker, hits| run(setup, walker, hits, None));
        self.stopped(stop)
    }

    fn stopped(&mut self, stop: Result<Stop, Error>) -> Result<Stop, Error> {
        match stop {
            Err(Error::Stopped) => {
                self.recover(&self.walker.place.clone())?;
                Ok(Stop::Interrupted)
            }
            stop => stop,
        }
    }
}

/// Has a session stop for what is asked, for as long as this takes.
fn watched<'a, T>(
    walker: &mut Walker<'a>,
    asked: &Asked,
    runs: bool,
    go: impl FnOnce(&mut Walker<'a>, &mut Hits<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut hits = Hits::begin(asked, walker, runs);
    let done = go(walker, &mut hits);
    hits.end(walker);
    done
}

/// Goes on until there is a hit, or until a task, if one is given, has got the core.
fn run(
    setup: &Setup<'_>,
    walker: &mut Walker<'_>,
    hits: &mut Hits<'_>,
    until: Option<TaskId>,
) -> Result<Stop, Error> {
    // The core changes hands at ticks and at events.
    let leg = if until.is_some() { 1 } else { LEG };
    walker.session.pass()?;
    loop {
        if walker.session.ended().is_some() {
            return Ok(Stop::End);
        }
        if setup.is_interrupted() {
            return Err(Error::Stopped);
        }
        let task = walker.session.state().current();
        let hit = if hits.walks() {
            let why = walker.step()?;
            match hits.watched(walker, task, why)? {
                Some(hit) => Some(hit),
                None => hits.standing(walker)?,
            }
        } else {
            let report = walker.run(Limit::Ticks(leg))?;
            hits.ran(walker, &report)?
        };
        match hit {
            Some(Hit::Breakpoint(task, address)) => return Ok(Stop::Breakpoint(task, address)),
            Some(Hit::Watchpoint(task, address)) => return Ok(Stop::Watchpoint(task, address)),
            None if until == Some(walker.session.state().current()) => return Ok(Stop::Stepped),
            None => {}
        }
    }
}
