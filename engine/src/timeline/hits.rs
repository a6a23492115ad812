//! What is stopped for, and what of it a walker has come to.

use std::collections::HashMap;

use twox_hash::XxHash3_128;

use super::expression::{Expression, Look};
use super::place::Place;
use super::walker::Walker;
use crate::error::Error;
use crate::replay::{Point, Report, Session, Why};
use crate::task::TaskId;
use crate::tracee::Registers;

/// What is stopped for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Places in the code.
    pub breakpoints: Vec<Breakpoint>,
    /// Places in memory.
    pub watchpoints: Vec<Watchpoint>,
    /// If only those of one process are meant: its first task.
    pub process: Option<TaskId>,
}

impl Asked {
    /// Whether each instruction must be looked at: more is watched than a processor can.
    pub(super) fn walks(&self) -> bool {
        self.words().is_none()
    }

    fn words(&self) -> Option<Vec<Point>> {
        let mut words = Vec::new();
        for watchpoint in &self.watchpoints {
            words.extend(watchpoint.points(WORDS - words.len())?);
        }
        Some(words)
    }
}

/// A place in the code at which is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// The address of an instruction.
    pub address: u64,
    /// If there are any, only if one of these is not 0 there.
    pub conditions: Vec<Expression>,
}

/// What is done to watched memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// It gets another value.
    Change,
    /// It is read or written.
    Access,
}

/// Memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchpoint {
    /// Its first byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
    /// What is stopped for.
    pub watch: Watch,
}

impl Watchpoint {
    /// Which aligned words a processor watches for it; none if they are more than `most`.
    fn points(&self, most: usize) -> Option<Vec<Point>> {
        let (mut at, end) = (self.address, self.address.checked_add(self.len)?);
        let mut points = Vec::new();
        while at < end {
            if points.len() == most {
                return None;
            }
            let fits = |len: &u8| at.is_multiple_of(u64::from(*len)) && end - at >= u64::from(*len);
            let len = [8, 4, 2, 1].into_iter().find(fits)?;
            points.push(match self.watch {
                Watch::Change => Point::Write { address: at, len },
                Watch::Access => Point::Access { address: at, len },
            });
            at += u64::from(len);
        }
        Some(points)
    }
}

/// How many words a processor watches.
const WORDS: usize = 4;

/// What a walker looks for, and what it knows of that.
pub(super) struct Hits<'h> {
    asked: &'h Asked,
    /// What the session has been asked to stop for.
    points: Vec<Point>,
    /// The values of what is watched, as they were last seen.
    values: Vec<Option<Vec<u8>>>,
    /// Where the walker stood when it last came to other events or ticks, or began.
    after: Place,
    /// How often the running task has stopped with these registers since, by their digests.
    seen: HashMap<u128, u64>,
}

/// Something that is stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hit {
    Breakpoint(TaskId, u64),
    /// The task, and the watched memory's address.
    Watchpoint(TaskId, u64),
}

impl<'h> Hits<'h> {
    /// Has a walker's session stop for what is asked, if need be also in the middle of a run. [`Self::end`] takes that
    /// back.
    pub(super) fn begin(asked: &'h Asked, walker: &mut Walker<'_>, runs: bool) -> Self {
        let mut hits = Self {
            asked,
            points: Vec::new(),
            values: Vec::new(),
            after: walker.place.clone(),
            seen: HashMap::new(),
        };
        let code = asked.breakpoints.iter().map(|it| Point::Execute(it.address));
        let runs = runs && !asked.walks();
        let words = asked.words().unwrap_or_default();
        for point in code.filter(|_| runs).chain(words) {
            if walker.session.stop_at(point) {
                hits.points.push(point);
            }
        }
        // The first moment of a tick counts, wherever one begins.
        if hits.after.since.is_first()
            && let Ok(Some(registers)) = walker.registers()
        {
            hits.see(&registers);
        }
        hits.values = asked.watchpoints.iter().map(|it| hits.value(&walker.session, it)).collect();
        hits
    }

    /// Takes back what the session was asked for.
    pub(super) fn end(self, walker: &mut Walker<'_>) {
        for point in self.points {
            walker.session.stop_no_more_at(point);
        }
    }

    /// Whether each instruction must be looked at.
    pub(super) fn walks(&self) -> bool {
        self.asked.walks()
    }

    /// Counts a stop with these registers. Returns how many there have been.
    fn see(&mut self, registers: &Registers) -> u64 {
        let bytes: Vec<u8> = registers.0.iter().flat_map(|register| register.to_le_bytes()).collect();
        let nth = self.seen.entry(XxHash3_128::oneshot(&bytes)).or_default();
        *nth += 1;
        *nth
    }

    /// The walker has run to here. Gives it its place, and says what it has come to, if that is asked for.
    pub(super) fn ran(&mut self, walker: &mut Walker<'_>, report: &Report) -> Result<Option<Hit>, Error> {
        if !self.after.is_with(report.event, report.ticks) {
            self.after = Place::first(report.event, report.ticks);
            self.seen.clear();
        }
        if matches!(report.why, Why::Breakpoint(_) | Why::Watchpoint(_))
            && let Some(registers) = walker.registers()?
        {
            let nth = self.see(&registers);
            if !report.between {
                walker.place = Place::seen(&self.after, registers, nth);
            }
        }
        self.asked_for(walker, report.task, report.why)
    }

    /// The walker has executed an instruction of `task`. Says what of the watched memory that has written.
    pub(super) fn watched(
        &mut self,
        walker: &mut Walker<'_>,
        task: TaskId,
        why: Why,
    ) -> Result<Option<Hit>, Error> {
        match if self.walks() { Why::Watchpoint(0) } else { why } {
            why @ Why::Watchpoint(_) => self.asked_for(walker, task, why),
            _ => Ok(None),
        }
    }

    /// Whether the running task stands at a breakpoint.
    pub(super) fn standing(&mut self, walker: &mut Walker<'_>) -> Result<Option<Hit>, Error> {
        if self.asked.breakpoints.is_empty() {
            return Ok(None);
        }
        let Some(registers) = walker.registers()? else { return Ok(None) };
        let current = walker.session.state().current();
        self.asked_for(walker, current, Why::Breakpoint(registers.ip()))
    }

    fn asked_for(&mut self, walker: &mut Walker<'_>, task: TaskId, why: Why) -> Result<Option<Hit>, Error> {
        if self.asked.process.is_some_and(|asked| walker.session.state().process(task) != Some(asked)) {
            return Ok(None);
        }
        match why {
            Why::Watchpoint(address) => {
                let hit = self.changed(walker, Why::Watchpoint(address));
                Ok(hit.map(|address| Hit::Watchpoint(task, address)))
            }
            Why::Breakpoint(address) => {
                let at = |it: &&Breakpoint| it.address == address;
                let Some(found) = self.asked.breakpoints.iter().find(at) else { return Ok(None) };
                let holds = found.conditions.is_empty() || {
                    let mut here = Here { walker, task };
                    // One that cannot be evaluated is for whoever asked to see.
                    found.conditions.iter().any(|it| it.evaluate(&mut here).is_none_or(|value| value != 0))
                };
                Ok(holds.then_some(Hit::Breakpoint(task, address)))
            }
            Why::Event | Why::Ticks | Why::Instruction | Why::Ended => Ok(None),
        }
    }

    /// Returns the address of what is watched and has changed, or was accessed.
    fn changed(&mut self, walker: &Walker<'_>, why: Why) -> Option<u64> {
        let Why::Watchpoint(address) = why else { return None };
        let mut hit = None;
        for (at, watchpoint) in self.asked.watchpoints.iter().enumerate() {
            let now = self.value(&walker.session, watchpoint);
            let last = &mut self.values[at];
            let is_other = last.is_some() && now.is_some() && now != *last;
            let end = watchpoint.address.saturating_add(watchpoint.len);
            let is_accessed =
                watchpoint.watch == Watch::Access && (watchpoint.address..end).contains(&address);
            if is_other || is_accessed {
                hit = hit.or(Some(watchpoint.address));
            }
            *last = now;
        }
        hit
    }

    /// What is watched, as far as there is such memory.
    fn value(&self, session: &Session<'_>, watchpoint: &Watchpoint) -> Option<Vec<u8>> {
        let state = session.state();
        let is_asked = |task: &TaskId| state.process(*task) == self.asked.process;
        let whose = match self.asked.process {
            Some(_) => state.tasks().map(|(task, _)| task).find(is_asked)?,
            None => state.current(),
        };
        session.read(whose, watchpoint.address, usize::try_from(watchpoint.len).ok()?).ok()
    }
}

/// What a condition looks at.
struct Here<'w, 'a> {
    walker: &'w mut Walker<'a>,
    task: TaskId,
}

impl Look for Here<'_, '_> {
    fn registers(&mut self) -> Option<Registers> {
        self.walker.session.registers(self.task).ok().flatten()
    }

    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let found = self.walker.session.read(self.task, address, bytes.len()).ok()?;
        bytes.copy_from_slice(&found);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_split_into_aligned_words() {
        let words = |address, len, most| {
            let points = Watchpoint { address, len, watch: Watch::Change }.points(most)?;
            Some(
                points
                    .into_iter()
                    .map(|point| match point {
                        Point::Write { address, len } => (address, len),
                        other => panic!("{other:?}"),
                    })
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(words(0x1000, 8, 4), Some(vec![(0x1000, 8)]));
        assert_eq!(words(0x1001, 8, 4), Some(vec![(0x1001, 1), (0x1002, 2), (0x1004, 4), (0x1008, 1)]));
        assert_eq!(words(0x1000, 32, 4).map(|it| it.len()), Some(4));
        assert_eq!(words(0x1000, 33, 4), None);
        assert_eq!(words(0x1000, 16, 1), None);
        assert_eq!(words(u64::MAX, 8, 4), None);
        let last = 0xffff_ffff_ffff_fff8;
        assert_eq!(words(last, 4, 4), Some(vec![(last, 4)]));
        assert_eq!(words(last, 7, 4), Some(vec![(last, 4), (last + 4, 2), (last + 6, 1)]));
    }
}
