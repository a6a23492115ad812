//! Surprises in time: a machine that is busy with others for a while.
//!
//! - [`Surprise::Early`]: nobody runs until a task's time limit, or its sleep, is over.
//! - [`Surprise::Late`]: a task gets the core only some time after its wait is over.
//! - [`Surprise::Stall`]: a task does not get the core while others wait for times to come again and again.
//! - [`Surprise::Slow`]: nobody runs for a while just before a task reads a clock.
//!
//! What they have in common is that time passes ([`Recorder::pass`]). In virtual time it leaps, together with all clocks and
//! timers of the program ([`crate::record::time::leap`]); in real time the recorder waits. Nobody runs meanwhile, and whatever
//! falls due does so: that is what a machine does that has given its cores to others. No wait ends before its time as the
//! program's clocks show it.
//!
//! How much there may be of it. People guard their tests against hanging with limits of many seconds, and are right to rely on
//! these: an attempt loses [`FAR`] in all at most. In real time that would keep the other attempts waiting, so nearly all
//! lose [`MOST`] at most, by waits of up to [`NEAR`], unless the test itself usually waits for longer
//! ([`Plan::usual_wait`](crate::schedule::Plan::usual_wait)): then for as long as that. In virtual time the sleep that a test usually
//! sits out may come early however long it is, if no time limit of another task is passed over by that.

use std::borrow::Cow;
use std::time::Duration;

use super::strikes::Note;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::time::clocks::Time;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Hold;
use crate::schedule::surprise::Surprise;
use crate::strike::Doing;
use crate::task::TaskId;

/// In ns: for so long do machines under load keep programs waiting now and then; who waits for longer may rely on it.
pub(in crate::record) const FAR: u64 = 2_500_000_000;

/// In ns: for how long something may be kept waiting in nearly all attempts in real time.
const NEAR: u64 = 100_000_000;

/// In ns: how long nearly all attempts may be kept waiting in all, in real time.
const MOST: u64 = 200_000_000;

/// In ns: by how much at least what is late is late.
const MOMENT: u64 = 10_000;

/// In ns: how long a read of a clock keeps an attempt waiting on average, in real time, where that strikes.
const PRICE: u64 = 2_000_000;

/// How many decisions may pass until a time that comes early has come.
const DECISIONS: u64 = 256;

/// Reads of a clock up to the next one that may be slow are fewer.
const READS: u64 = 17;

/// A stall lasts for fewer waits of others.
const WAITS: u64 = 65;

/// A stall ends after so many decisions or ticks: then somebody waits in a loop for the task that is kept away.
const STALL: (u64, u64) = (512, 100_000);

/// How time plays with the program.
#[derive(Debug, Default)]
pub(in crate::record) struct Caprice {
    early: Option<Early>,
    stall: Option<Stall>,
    /// For how long it has kept the attempt waiting, in ns.
    spent: u64,
}

/// A wait that is to be over early.
#[derive(Debug)]
struct Early {
    task: TaskId,
    /// How many decisions are left until then.
    left: u64,
    note: Note,
}

/// A task that does not get the core.
#[derive(Debug)]
struct Stall {
    task: TaskId,
    /// How many waits of others are left.
    left: u64,
    /// How many there have been, and how long they were.
    times: u64,
    lasted: u64,
    /// Decisions so far, and the ticks of all tasks at the start.
    decisions: u64,
    ticks: u64,
}

impl Caprice {
    /// Those of the runnable that can have the core.
    pub(in crate::record) fn awake<'a>(&self, runnable: &'a [TaskId]) -> Cow<'a, [TaskId]> {
        match &self.stall {
            Some(stall) if runnable.len() > 1 && runnable.binary_search(&stall.task).is_ok() => {
                runnable.iter().copied().filter(|task| *task != stall.task).collect()
            }
            _ => Cow::Borrowed(runnable),
        }
    }
}

impl Recorder<'_> {
    /// For how long something may take, in ns.
    fn reach(&self) -> u64 {
        match self.options.time {
            Time::Virtual => FAR,
            Time::Real => (NEAR << self.dice.patience()).max(self.options.plan.usual_wait).min(FAR),
        }
    }

    /// Whether the attempt may be kept waiting for so long; then it counts.
    fn may_keep_waiting(&mut self, nanoseconds: u64) -> bool {
        let most = match self.options.time {
            Time::Virtual => FAR,
            Time::Real => self.reach().max(MOST),
        };
        let spent = self.caprice.spent.saturating_add(nanoseconds);
        let may = spent <= most;
        if may {
            self.caprice.spent = spent;
        }
        may
    }

    /// So much time passes while nobody runs, or less. False if it must not.
    fn pass(&mut self, nanoseconds: u64) -> Flow<bool> {
        match self.options.time {
            Time::Virtual => {
                let now = self.clocks.now()?;
                self.leap(Some(now.saturating_add(nanoseconds)), now)
            }
            Time::Real => {
                std::thread::sleep(Duration::from_nanos(nanoseconds));
                Ok(true)
            }
        }
    }

    /// A task waits in this call, until this time at the latest.
    pub(in crate::record) fn limit_wait(&mut self, id: TaskId, call: &Call, deadline: u64) -> Flow<()> {
        self.deadlines.insert(id, deadline);
        let dear = self.options.time == Time::Real && self.options.plan.usual_wait >= NEAR;
        if self.start_up.is_some()
            || !dear && !self.dice.have(Surprise::Early) && !self.dice.have(Surprise::Stall)
        {
            return Ok(());
        }
        let asked = deadline.saturating_sub(self.clocks.now()?);
        let doing = doing(call);
        // A wait that the attempt sits out in any case may as well be used.
        let dear = dear && (NEAR..=self.options.plan.usual_wait).contains(&asked);
        let sits_out = doing == Doing::Sleeps
            && self.options.time == Time::Virtual
            && asked <= self.options.plan.usual_wait;
        if asked > self.reach() && !sits_out {
            return Ok(());
        }
        let mut strikes = |kind| if dear { self.dice.strike_rather(kind) } else { self.dice.strike(kind) };
        let (early, stall) = (
            self.caprice.early.is_none() && strikes(Surprise::Early),
            self.caprice.stall.is_none() && strikes(Surprise::Stall),
        );
        if early {
            let left = if dear { 1 } else { self.dice.amount(Surprise::Early, 1, DECISIONS) };
            let place = self.notes_strikes().then(|| self.place(id, &call.registers));
            let note = Note { asked, place, ..Note::new(Surprise::Early, id, doing) };
            self.caprice.early = Some(Early { task: id, left, note });
        }
        if stall {
            self.begin_stall(id);
        }
        Ok(())
    }

    /// A task waits; another one does not get the core from now on.
    fn begin_stall(&mut self, id: TaskId) {
        let harness = |task: TaskId| self.options.watchdog_main && task == TaskId(0);
        let others = self.tasks.living().map(|task| task.id);
        let others: Vec<_> = others.filter(|other| *other != id && !harness(*other)).collect();
        let at = self.dice.below(Surprise::Stall, others.len() as u64);
        let left = self.dice.amount(Surprise::Stall, 1, WAITS);
        let Some(task) = others.get(at as usize).copied() else { return };
        let ticks = self.clock.total();
        self.caprice.stall = Some(Stall { task, left, times: 0, lasted: 0, decisions: 0, ticks });
    }

    /// A decision is due, among tasks that could run. If a time is to come early, and it is that late, it comes now.
    pub(in crate::record) fn let_time_pass(&mut self) -> Flow<()> {
        if let Some(stall) = &mut self.caprice.stall {
            stall.decisions += 1;
            if stall.decisions > STALL.0 || self.clock.total() - stall.ticks > STALL.1 {
                self.end_stall();
            }
        }
        let Some(early) = &mut self.caprice.early else { return Ok(()) };
        early.left = early.left.saturating_sub(1);
        if early.left > 0 {
            return Ok(());
        }
        let Some(Early { task: id, mut note, .. }) = self.caprice.early.take() else { return Ok(()) };
        let now = self.clocks.now()?;
        let Some(wait) = self.deadlines.of(id).and_then(|at| at.checked_sub(now)) else { return Ok(()) };
        let may = if wait > FAR { !self.passes_over(id, now, wait) } else { self.may_keep_waiting(wait) };
        if may && self.pass(wait)? {
            note.others = self.tasks.runnable().iter().copied().filter(|other| *other != id).collect();
            self.note_strike(note);
            self.collect_ready()?;
        }
        Ok(())
    }

    /// Whether another task waits until a time that is far off, and would be passed over.
    fn passes_over(&self, id: TaskId, now: u64, wait: u64) -> bool {
        let others = self.tasks.living().filter(|task| task.id != id);
        let mut left =
            others.filter_map(|task| self.deadlines.of(task.id)).map(|deadline| deadline.saturating_sub(now));
        left.any(|left| (FAR..=wait).contains(&left))
    }

    /// Nobody can run but, maybe, the task that does not get the core: the others' next time comes, or the task gets it. Whether
    /// time has passed.
    pub(in crate::record) fn is_stalled(&mut self) -> Flow<bool> {
        let Some(Stall { task, left, .. }) = self.caprice.stall else { return Ok(false) };
        if self.tasks.runnable() != [task] {
            return Ok(false);
        }
        let now = self.clocks.now()?;
        let next = self.deadlines.earliest().map(|(at, _)| at.saturating_sub(now)).filter(|_| left > 0);
        if let Some(wait) = next.filter(|wait| *wait <= self.reach())
            && self.may_keep_waiting(wait)
            && self.pass(wait)?
        {
            if let Some(stall) = &mut self.caprice.stall {
                stall.left -= 1;
                stall.times += 1;
                stall.lasted += wait;
            }
            self.collect_ready()?;
            return Ok(true);
        }
        self.end_stall();
        Ok(false)
    }

    /// A task can have the core again.
    pub(super) fn end_stall(&mut self) {
        let Some(Stall { task, times, lasted, .. }) = self.caprice.stall.take() else { return };
        if times > 0 && self.notes_strikes() {
            let place = self.place_of(task);
            self.note_strike(Note {
                more: lasted,
                times,
                place,
                ..Note::new(Surprise::Stall, task, Doing::Runs)
            });
        }
    }

    /// A task's time is over. Whether it is late, so that it goes on waiting.
    pub(in crate::record) fn is_late(&mut self, id: TaskId, now: u64) -> bool {
        let Hold::Waiting(_, call) = self.tasks[id].hold() else { return false };
        if call.late || !self.strikes(Surprise::Late) {
            return false;
        }
        // What others wait for may come first, if it is near.
        let reach = self.reach();
        let next = self.deadlines.earliest().map(|(at, _)| at).filter(|at| *at < now + reach);
        let next = next.filter(|_| self.dice.amount(Surprise::Late, 1, 4) == 1).unwrap_or(now);
        let until = next + self.dice.amount(Surprise::Late, MOMENT, reach);
        if !self.may_keep_waiting(until - now) {
            return false;
        }
        if self.notes_strikes()
            && let Hold::Waiting(_, call) = self.tasks[id].hold()
        {
            let place = Some(self.place(id, &call.registers));
            let note = Note { more: until - now, place, ..Note::new(Surprise::Late, id, doing(call)) };
            self.note_strike(note);
        }
        if let Some(call) = self.task(id).call_mut() {
            call.late = true;
        }
        self.deadlines.insert(id, until);
        true
    }

    /// Whether the program has waited for longer than it would have by itself.
    pub(in crate::record) fn has_lost_time(&self) -> bool {
        self.caprice.spent > 0
    }

    /// From now on reads of clocks may be slow.
    pub(in crate::record) fn look_at_reads(&mut self) {
        if self.dice.have(Surprise::Slow) {
            self.clock.area().set_reads(1);
        }
    }

    /// A task reads a clock in this call. Time may have passed since it last did.
    pub(in crate::record) fn reads_slowly(&mut self, id: TaskId, call: &Call) -> Flow<()> {
        let harness = self.options.watchdog_main && id == TaskId(0);
        if !self.dice.have(Surprise::Slow) || harness {
            return Ok(());
        }
        let next = self.dice.amount(Surprise::Slow, 1, READS);
        self.clock.area().set_reads(next);
        if !self.strikes(Surprise::Slow) {
            return Ok(());
        }
        let reach = self.reach();
        let hurries = self.options.time == Time::Real;
        // Where patience is rare it is not wasted on little.
        let least = if hurries && reach > NEAR { reach / 2 } else { MOMENT };
        let wait = self.dice.amount(Surprise::Slow, least, reach);
        let dear = hurries && reach <= NEAR && self.dice.below(Surprise::Slow, wait) >= PRICE;
        if !dear && self.may_keep_waiting(wait) && self.pass(wait)? && self.notes_strikes() {
            let place = Some(self.place(id, &call.registers));
            self.note_strike(Note { more: wait, place, ..Note::new(Surprise::Slow, id, Doing::Runs) });
        }
        Ok(())
    }
}

/// What a task does that waits in this call until a time.
fn doing(call: &Call) -> Doing {
    match call.number() as i64 {
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Doing::Sleeps,
        _ => Doing::Waits,
    }
}
