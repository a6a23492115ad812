//! Surprises that let time pass while nobody runs.

use crate::record::options::Time;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::surprises::strikes::Note;
use crate::record::surprises::under_way::{Early, FAR, MOMENT, NEAR, Stall};
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Tasks;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// A read of a clock that may be slow comes after fewer reads than this.
const READS: u64 = 17;

/// In ns. How long a slow read of a clock delays an attempt on average, in real time.
const PRICE: u64 = 2_000_000;

/// A stall ends after this many decisions or ticks: some task probably waits in a loop for the stalled one.
const STALL: (u64, u64) = (512, 100_000);

impl Recorder<'_> {
    /// Ends a wait early if that surprise is due. Called at each decision with a runnable task.
    pub(in crate::record) fn let_time_pass(&mut self) -> Flow<()> {
        if let Some(stall) = &mut self.surprises.under_way.stall {
            stall.decisions += 1;
            if stall.decisions > STALL.0 || self.clock.total() - stall.ticks > STALL.1 {
                self.surprises.end_stall(&self.tasks, &self.code.call_sites);
            }
        }
        let Some(early) = &mut self.surprises.under_way.early else { return Ok(()) };
        early.left = early.left.saturating_sub(1);
        if early.left > 0 {
            return Ok(());
        }
        let Some(Early { task: id, mut note, .. }) = self.surprises.under_way.early.take() else {
            return Ok(());
        };
        let now = self.time.clocks.now()?;
        let Some(wait) = self.tasks.deadlines.of(id).and_then(|at| at.checked_sub(now)) else {
            return Ok(());
        };
        let may = if wait > FAR {
            !self.tasks.passes_over(id, now, wait)
        } else {
            self.surprises.may_keep_waiting(self.options, wait)
        };
        if may && self.pass(wait)? {
            note.others = self.tasks.runnable().iter().copied().filter(|other| *other != id).collect();
            self.surprises.note_strike(note);
            self.collect_ready()?;
        }
        Ok(())
    }

    /// Handles a stall when at most the stalled task is runnable: lets the next deadline of the others come, or ends
    /// the stall. Returns whether time has passed.
    pub(in crate::record) fn is_stalled(&mut self) -> Flow<bool> {
        let Some(Stall { task, left, .. }) = self.surprises.under_way.stall else { return Ok(false) };
        if self.tasks.runnable() != [task] {
            return Ok(false);
        }
        let now = self.time.clocks.now()?;
        let next = self.tasks.deadlines.earliest().map(|(at, _)| at.saturating_sub(now)).filter(|_| left > 0);
        if let Some(wait) = next.filter(|wait| *wait <= self.surprises.reach(self.options))
            && self.surprises.may_keep_waiting(self.options, wait)
            && self.pass(wait)?
        {
            if let Some(stall) = &mut self.surprises.under_way.stall {
                stall.left -= 1;
                stall.times += 1;
                stall.lasted += wait;
            }
            self.collect_ready()?;
            return Ok(true);
        }
        self.surprises.end_stall(&self.tasks, &self.code.call_sites);
        Ok(false)
    }

    /// Lets time pass before a task reads a clock in this call, if that surprise strikes. If `all`, the next read of a
    /// clock stops, too.
    pub(in crate::record) fn reads_slowly(&mut self, id: TaskId, call: &Call, all: bool) -> Flow<()> {
        if !self.surprises.injector.have(Surprise::Slow) {
            self.clock.area().set_reads(all.into());
            return Ok(());
        }
        let next = self.surprises.injector.reads_until(if all { 2 } else { READS });
        self.clock.area().set_reads(next);
        if !self.surprises.strikes(&self.scheduler, Surprise::Slow, id) {
            return Ok(());
        }
        let reach = self.surprises.reach(self.options);
        let hurries = self.options.time == Time::Real;
        // Where long delays are rare they are not wasted on short ones.
        let least = if hurries && reach > NEAR { reach / 2 } else { MOMENT };
        let wait = self.surprises.injector.amount(Surprise::Slow, least, reach);
        let dear = hurries && reach <= NEAR && self.surprises.injector.below(Surprise::Slow, wait) >= PRICE;
        if !dear
            && self.surprises.may_keep_waiting(self.options, wait)
            && self.pass(wait)?
            && self.surprises.notes_strikes()
        {
            let place = Some(self.code.call_sites.place(&self.tasks, id, &call.registers));
            self.surprises.note_strike(Note {
                more: wait,
                place,
                ..Note::new(Surprise::Slow, id, Doing::Runs)
            });
        }
        Ok(())
    }
}

impl Tasks {
    /// Whether letting `wait` pass would skip a distant deadline of another task.
    pub(in crate::record) fn passes_over(&self, id: TaskId, now: u64, wait: u64) -> bool {
        let others = self.living().filter(|task| task.id != id);
        let mut left =
            others.filter_map(|task| self.deadlines.of(task.id)).map(|deadline| deadline.saturating_sub(now));
        left.any(|left| (FAR..=wait).contains(&left))
    }
}
