//! Surprises that change when waits with a time limit end.

use crate::record::options::Time;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::surprises::strikes::Note;
use crate::record::surprises::under_way::{Early, MOMENT, NEAR};
use crate::record::tree::call::Call;
use crate::record::tree::task::Hold;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// A surprise ends a wait early after at most this many decisions.
const DECISIONS: u64 = 256;

impl Recorder<'_> {
    /// Sets the deadline of a task that waits in this call, and decides whether a surprise strikes the wait.
    pub(in crate::record) fn limit_wait(&mut self, id: TaskId, call: &Call, deadline: u64) -> Flow<()> {
        self.tasks.deadlines.insert(id, deadline);
        let dear = self.options.time == Time::Real && self.options.plan.usual_wait >= NEAR;
        if self.scheduler.start_up.is_some()
            || !dear
                && !self.surprises.injector.have(Surprise::Early)
                && !self.surprises.injector.have(Surprise::Stall)
        {
            return Ok(());
        }
        let asked = deadline.saturating_sub(self.time.clocks.now()?);
        let doing = doing(call);
        // If the attempt sits out a wait anyway, it may as well be used.
        let dear = dear && (NEAR..=self.options.plan.usual_wait).contains(&asked);
        let sits_out = doing == Doing::Sleeps
            && self.options.time == Time::Virtual
            && asked <= self.options.plan.usual_wait;
        if asked > self.surprises.reach(self.options) && !sits_out {
            return Ok(());
        }
        let mut strikes = |kind| {
            if dear {
                self.surprises.injector.strike_rather(kind, id)
            } else {
                self.surprises.injector.strike(kind, id)
            }
        };
        let (early, stall) = (
            self.surprises.under_way.early.is_none() && strikes(Surprise::Early),
            self.surprises.under_way.stall.is_none() && strikes(Surprise::Stall),
        );
        if early {
            let left = if dear { 1 } else { self.surprises.injector.amount(Surprise::Early, 1, DECISIONS) };
            let place = self
                .surprises
                .notes_strikes()
                .then(|| self.code.call_sites.place(&self.tasks, id, &call.registers));
            let note = Note { asked, place, ..Note::new(Surprise::Early, id, doing) };
            self.surprises.under_way.early = Some(Early { task: id, left, note });
        }
        if stall {
            self.surprises.begin_stall(self.options, &self.tasks, &self.clock, id);
        }
        Ok(())
    }

    /// Whether a task whose time is over is to be late, so that it goes on waiting.
    pub(in crate::record) fn is_late(&mut self, id: TaskId, now: u64) -> bool {
        let Hold::Waiting(_, call) = self.tasks[id].hold() else { return false };
        if call.late || !self.surprises.strikes(&self.scheduler, Surprise::Late, id) {
            return false;
        }
        // What others wait for may come first, if it is near.
        let reach = self.surprises.reach(self.options);
        let next = self.tasks.deadlines.earliest().map(|(at, _)| at).filter(|at| *at < now + reach);
        let next = next.filter(|_| self.surprises.injector.amount(Surprise::Late, 1, 4) == 1).unwrap_or(now);
        let until = next + self.surprises.injector.amount(Surprise::Late, MOMENT, reach);
        if !self.surprises.may_keep_waiting(self.options, until - now) {
            return false;
        }
        if self.surprises.notes_strikes()
            && let Hold::Waiting(_, call) = self.tasks[id].hold()
        {
            let place = Some(self.code.call_sites.place(&self.tasks, id, &call.registers));
            let note = Note { more: until - now, place, ..Note::new(Surprise::Late, id, doing(call)) };
            self.surprises.note_strike(note);
        }
        if let Some(call) = self.tasks.task(id).call_mut() {
            call.late = true;
        }
        self.tasks.deadlines.insert(id, until);
        true
    }

    /// Makes the next read of a clock stop if a surprise may come with it.
    pub(in crate::record) fn look_at_reads(&self) {
        if self.surprises.injector.have(Surprise::Slow) || self.surprises.at_reads.are_awaited() {
            self.clock.area().set_reads(1);
        }
    }
}

/// Returns what a task does that waits in this call until a time.
fn doing(call: &Call) -> Doing {
    match call.number() as i64 {
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Doing::Sleeps,
        _ => Doing::Waits,
    }
}
