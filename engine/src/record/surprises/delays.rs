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

use super::Surprises;
use super::strikes::Note;
use crate::clock::Clock;
use crate::record::in_process::call_sites::CallSites;
use crate::record::options::Options;
use crate::record::recorder::Recorder;
use crate::record::step::Flow;
use crate::record::time::clocks::Time;
use crate::record::tree::call::Call;
use crate::record::tree::tasks::Hold;
use crate::record::tree::tasks::Tasks;
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

impl Surprises {
    /// For how long something may take, in ns.
    fn reach(&self, options: &Options<'_>) -> u64 {
        match options.time {
            Time::Virtual => FAR,
            Time::Real => (NEAR << self.dice.patience()).max(options.plan.usual_wait).min(FAR),
        }
    }

    /// Whether the attempt may be kept waiting for so long; then it counts.
    fn may_keep_waiting(&mut self, options: &Options<'_>, nanoseconds: u64) -> bool {
        let most = match options.time {
            Time::Virtual => FAR,
            Time::Real => self.reach(options).max(MOST),
        };
        let spent = self.caprice.spent.saturating_add(nanoseconds);
        let may = spent <= most;
        if may {
            self.caprice.spent = spent;
        }
        may
    }

    /// A task waits; another one does not get the core from now on.
    fn begin_stall(&mut self, options: &Options<'_>, tasks: &Tasks, clock: &Clock, id: TaskId) {
        let harness = |task: TaskId| options.watchdog_main && task == TaskId(0);
        let others = tasks.living().map(|task| task.id);
        let others: Vec<_> = others.filter(|other| *other != id && !harness(*other)).collect();
        let at = self.dice.below(Surprise::Stall, others.len() as u64);
        let left = self.dice.amount(Surprise::Stall, 1, WAITS);
        let Some(task) = others.get(at as usize).copied() else { return };
        let ticks = clock.total();
        self.caprice.stall = Some(Stall { task, left, times: 0, lasted: 0, decisions: 0, ticks });
    }

    /// A task can have the core again.
    pub(super) fn end_stall(&mut self, tasks: &Tasks, call_sites: &CallSites) {
        let Some(Stall { task, times, lasted, .. }) = self.caprice.stall.take() else { return };
        if times > 0 && self.notes_strikes() {
            let place = call_sites.place_of(tasks, task);
            self.note_strike(Note {
                more: lasted,
                times,
                place,
                ..Note::new(Surprise::Stall, task, Doing::Runs)
            });
        }
    }

    /// Whether the program has waited for longer than it would have by itself.
    pub(in crate::record) fn has_lost_time(&self) -> bool {
        self.caprice.spent > 0
    }
}

impl Recorder<'_> {
    /// So much time passes while nobody runs, or less. False if it must not.
    fn pass(&mut self, nanoseconds: u64) -> Flow<bool> {
        match self.options.time {
            Time::Virtual => {
                let now = self.time.clocks.now()?;
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
        self.tasks.deadlines.insert(id, deadline);
        let dear = self.options.time == Time::Real && self.options.plan.usual_wait >= NEAR;
        if self.scheduler.start_up.is_some()
            || !dear
                && !self.surprises.dice.have(Surprise::Early)
                && !self.surprises.dice.have(Surprise::Stall)
        {
            return Ok(());
        }
        let asked = deadline.saturating_sub(self.time.clocks.now()?);
        let doing = doing(call);
        // A wait that the attempt sits out in any case may as well be used.
        let dear = dear && (NEAR..=self.options.plan.usual_wait).contains(&asked);
        let sits_out = doing == Doing::Sleeps
            && self.options.time == Time::Virtual
            && asked <= self.options.plan.usual_wait;
        if asked > self.surprises.reach(self.options) && !sits_out {
            return Ok(());
        }
        let mut strikes = |kind| {
            if dear { self.surprises.dice.strike_rather(kind) } else { self.surprises.dice.strike(kind) }
        };
        let (early, stall) = (
            self.surprises.caprice.early.is_none() && strikes(Surprise::Early),
            self.surprises.caprice.stall.is_none() && strikes(Surprise::Stall),
        );
        if early {
            let left = if dear { 1 } else { self.surprises.dice.amount(Surprise::Early, 1, DECISIONS) };
            let place = self
                .surprises
                .notes_strikes()
                .then(|| self.code.call_sites.place(&self.tasks, id, &call.registers));
            let note = Note { asked, place, ..Note::new(Surprise::Early, id, doing) };
            self.surprises.caprice.early = Some(Early { task: id, left, note });
        }
        if stall {
            self.surprises.begin_stall(self.options, &self.tasks, &self.clock, id);
        }
        Ok(())
    }

    /// A decision is due, among tasks that could run. If a time is to come early, and it is that late, it comes now.
    pub(in crate::record) fn let_time_pass(&mut self) -> Flow<()> {
        if let Some(stall) = &mut self.surprises.caprice.stall {
            stall.decisions += 1;
            if stall.decisions > STALL.0 || self.clock.total() - stall.ticks > STALL.1 {
                self.surprises.end_stall(&self.tasks, &self.code.call_sites);
            }
        }
        let Some(early) = &mut self.surprises.caprice.early else { return Ok(()) };
        early.left = early.left.saturating_sub(1);
        if early.left > 0 {
            return Ok(());
        }
        let Some(Early { task: id, mut note, .. }) = self.surprises.caprice.early.take() else {
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

    /// Nobody can run but, maybe, the task that does not get the core: the others' next time comes, or the task gets it. Whether
    /// time has passed.
    pub(in crate::record) fn is_stalled(&mut self) -> Flow<bool> {
        let Some(Stall { task, left, .. }) = self.surprises.caprice.stall else { return Ok(false) };
        if self.tasks.runnable() != [task] {
            return Ok(false);
        }
        let now = self.time.clocks.now()?;
        let next = self.tasks.deadlines.earliest().map(|(at, _)| at.saturating_sub(now)).filter(|_| left > 0);
        if let Some(wait) = next.filter(|wait| *wait <= self.surprises.reach(self.options))
            && self.surprises.may_keep_waiting(self.options, wait)
            && self.pass(wait)?
        {
            if let Some(stall) = &mut self.surprises.caprice.stall {
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

    /// A task's time is over. Whether it is late, so that it goes on waiting.
    pub(in crate::record) fn is_late(&mut self, id: TaskId, now: u64) -> bool {
        let Hold::Waiting(_, call) = self.tasks[id].hold() else { return false };
        if call.late || !self.surprises.strikes(&self.scheduler, Surprise::Late) {
            return false;
        }
        // What others wait for may come first, if it is near.
        let reach = self.surprises.reach(self.options);
        let next = self.tasks.deadlines.earliest().map(|(at, _)| at).filter(|at| *at < now + reach);
        let next = next.filter(|_| self.surprises.dice.amount(Surprise::Late, 1, 4) == 1).unwrap_or(now);
        let until = next + self.surprises.dice.amount(Surprise::Late, MOMENT, reach);
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

    /// From now on reads of clocks may be slow.
    pub(in crate::record) fn look_at_reads(&self) {
        if self.surprises.dice.have(Surprise::Slow) {
            self.clock.area().set_reads(1);
        }
    }

    /// A task reads a clock in this call. Time may have passed since it last did.
    pub(in crate::record) fn reads_slowly(&mut self, id: TaskId, call: &Call) -> Flow<()> {
        let harness = self.options.watchdog_main && id == TaskId(0);
        if !self.surprises.dice.have(Surprise::Slow) || harness {
            return Ok(());
        }
        let next = self.surprises.dice.amount(Surprise::Slow, 1, READS);
        self.clock.area().set_reads(next);
        if !self.surprises.strikes(&self.scheduler, Surprise::Slow) {
            return Ok(());
        }
        let reach = self.surprises.reach(self.options);
        let hurries = self.options.time == Time::Real;
        // Where patience is rare it is not wasted on little.
        let least = if hurries && reach > NEAR { reach / 2 } else { MOMENT };
        let wait = self.surprises.dice.amount(Surprise::Slow, least, reach);
        let dear = hurries && reach <= NEAR && self.surprises.dice.below(Surprise::Slow, wait) >= PRICE;
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
    /// Whether another task waits until a time that is far off, and would be passed over.
    fn passes_over(&self, id: TaskId, now: u64, wait: u64) -> bool {
        let others = self.living().filter(|task| task.id != id);
        let mut left =
            others.filter_map(|task| self.deadlines.of(task.id)).map(|deadline| deadline.saturating_sub(now));
        left.any(|left| (FAR..=wait).contains(&left))
    }
}

/// What a task does that waits in this call until a time.
fn doing(call: &Call) -> Doing {
    match call.number() as i64 {
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Doing::Sleeps,
        _ => Doing::Waits,
    }
}
