//! Where the clocks stand as the program begins, and what happens to them at its reads.

use super::ALL;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::surprises::at_reads::{Edge, Step, Twice};
use crate::record::surprises::strikes::Note;
use crate::record::time::clocks::{self, SECOND, Shift, nanoseconds, wall_now};
use crate::record::time::zone::{End, Zone};
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;

/// In ns. How long before an end the wall clock stands at least.
const LEAST_BEFORE: u64 = 100_000;

/// Something comes at an earlier read of a clock than this.
const READS: u64 = 16;

/// In ns. How long the machine has been up: at least, and less than this.
const UP: (u64, u64) = (100_000_000, 256 * SECOND);

/// In ns. By how much the wall clock is set back: at least, and less than this.
const BACK: (u64, u64) = (1_000_000, 3600 * SECOND);

/// Reads of other clocks between two equal ones, at most.
const PATIENCE: u64 = 16;

/// In ns. Of what the timestamps of files are multiples.
const GRAINS: [u32; 4] = [10_000_000, 100_000_000, 1_000_000_000, 2_000_000_000];

impl Recorder<'_> {
    /// Sets the clocks, if surprises want them to stand elsewhere, and prepares those that come at reads of them.
    pub(super) fn begin_clocks(&mut self) -> Flow<()> {
        let shift = Shift { wall: self.begin_date()?, up: self.begin_uptime()? };
        if shift != Shift::default() {
            self.time.clocks.begin(shift)?;
        }
        if self.surprises.injector.strike(Surprise::ClockStep, ALL) {
            let back = self.surprises.injector.amount(Surprise::ClockStep, BACK.0, BACK.1);
            let reads = self.surprises.injector.amount(Surprise::ClockStep, 1, READS);
            self.surprises.at_reads.step = Some(Step { back, reads });
        }
        if self.surprises.injector.strike(Surprise::CoarseClock, ALL) {
            let reads = self.surprises.injector.amount(Surprise::CoarseClock, 1, READS);
            self.surprises.at_reads.twice = Some(Twice { reads, told: None, patience: PATIENCE });
        }
        if self.surprises.injector.strike(Surprise::CoarseMtime, ALL) {
            let grain = self.surprises.injector.below(Surprise::CoarseMtime, GRAINS.len() as u64);
            self.time.stamped.grain = GRAINS[grain as usize];
            let asked = self.time.stamped.grain.into();
            self.surprises.note_unseen(Note { asked, ..Note::new(Surprise::CoarseMtime, ALL, Doing::Runs) });
        }
        if self.time.differ() {
            self.set_clocks();
        }
        self.look_at_reads();
        Ok(())
    }

    /// Returns by how much the wall clock differs so that it stands just before the end of something.
    fn begin_date(&mut self) -> Flow<i64> {
        let (kind, ends) = if self.surprises.injector.strike(Surprise::Year, ALL) {
            (Surprise::Year, &End::FAR[..])
        } else if self.surprises.injector.strike(Surprise::Date, ALL) {
            (Surprise::Date, &End::NEAR[..])
        } else {
            return Ok(0);
        };
        let reach = self.surprises.reach(self.options);
        let injector = &mut self.surprises.injector;
        let end = ends[injector.below(kind, ends.len() as u64) as usize];
        let local = injector.below(kind, 2) > 0 || kind == Surprise::Year;
        let before = injector.amount(kind, LEAST_BEFORE, reach);
        // Mostly the first read comes before the end, and the second one after it.
        let most = if injector.below(kind, 2) > 0 { 2 } else { READS };
        let reads = 1 + injector.amount(kind, 1, most);
        let zone = if local { Zone::in_force(self.surprises.zone.as_deref()) } else { Zone::UTC };
        let now = wall_now(&self.time.clocks)?;
        let Some(begin) = end.after(now + i128::from(before), &zone) else { return Ok(0) };
        let (at, shown) = (begin.at, begin.told);
        self.surprises.at_reads.edge = Some(Edge { at, reads });
        self.surprises.note_unseen(Note { asked: before, shown, ..Note::new(kind, ALL, Doing::Runs) });
        Ok(i64::try_from(at - i128::from(before) - now).unwrap_or(0))
    }

    /// Returns by how much clocks differ that count from boot so that the machine has just been booted.
    fn begin_uptime(&mut self) -> Flow<i64> {
        if !self.surprises.injector.strike(Surprise::Uptime, ALL) {
            return Ok(0);
        }
        let up = self.surprises.injector.amount(Surprise::Uptime, UP.0, UP.1);
        let machine = nanoseconds(&clocks::read(libc::CLOCK_MONOTONIC)?).unwrap_or(0);
        self.surprises.note_unseen(Note { asked: up, ..Note::new(Surprise::Uptime, ALL, Doing::Runs) });
        Ok(up.cast_signed() - machine.cast_signed())
    }
}
