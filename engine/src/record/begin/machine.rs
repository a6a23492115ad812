//! On what machine the program begins.

use super::ALL;
use crate::record::recorder::Recorder;
use crate::record::surprises::faults::Fault;
use crate::record::surprises::placement::Placement;
use crate::record::surprises::strikes::Note;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;

/// How many cores it may have.
const CORES: [u64; 5] = [1, 2, 3, 8, 16];

/// A fault comes at an earlier call of its kind than this.
const CALLS: u64 = 64;

impl Recorder<'_> {
    /// Gives the program another machine, if surprises want it to have one.
    pub(super) fn begin_machine(&mut self) {
        if let Some(count) = self.draw(Surprise::Cores, CORES.len() as u64) {
            let count = CORES[count as usize];
            self.tasks.set_all_cores(count);
            self.surprises.note_unseen(Note { times: count, ..Note::new(Surprise::Cores, ALL, Doing::Runs) });
        }
        self.surprises.listing = self.draw(Surprise::DirOrder, u64::MAX);
        self.surprises.placement = self.draw(Surprise::Placement, u64::MAX).map(Placement::new);
        let (listing, placement) = (self.surprises.listing.is_some(), self.surprises.placement.is_some());
        self.clock.area().set_listed(listing);
        self.clock.area().set_placed(placement);
        for (kind, strikes) in [(Surprise::DirOrder, listing), (Surprise::Placement, placement)] {
            if strikes {
                self.surprises.note_unseen(Note::new(kind, ALL, Doing::Runs));
            }
        }
        for kind in Fault::KINDS {
            if self.surprises.injector.strike(kind, ALL) {
                let most = if kind == Surprise::Dns { 2 } else { CALLS };
                let calls = self.surprises.injector.amount(kind, 1, most);
                self.surprises.faults.extend(Fault::of_kind(kind, calls));
            }
        }
        for asked in self.options.faults {
            if self.surprises.injector.strike_as_asked(Surprise::Fault, ALL) {
                let further = self.surprises.injector.below(Surprise::Fault, asked.to - asked.from + 1);
                self.surprises.faults.push(Fault::asked(asked, asked.from + further));
            }
        }
        self.code.buffer.stop_all(!self.surprises.faults.is_empty());
    }

    /// Draws a number below `bound` if a surprise strikes.
    fn draw(&mut self, kind: Surprise, bound: u64) -> Option<u64> {
        let strikes = self.surprises.injector.strike(kind, ALL);
        strikes.then(|| self.surprises.injector.below(kind, bound))
    }
}
