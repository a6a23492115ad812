//! A worker makes attempts on one core, and tells of them.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rrtest_engine::Error;
use rrtest_engine::patience::Patience;
use rrtest_engine::schedule::script::Script;

use super::doubt::Place;
use super::ledger::Ticket;
use super::pinned::{Trial, trial};
use super::queue::{At, MOMENT, Queue, Take, Taken, TakenPin};
use super::running::Running;
use crate::attempt::attach::Pending;
use crate::attempt::events::{Attempt, Begun, Interference};
use crate::attempt::fork_servers::{Base, ForkServers};
use crate::attempt::pins::PinTried;
use crate::attempt::record::{Job, Made, Setting};
use crate::base::exit::panicked;
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::ending::outcome::Outcome;
use crate::explain::case::Case;

/// What a worker tells the dispatcher.
pub(super) enum Message {
    Done(Box<Attempt>, Option<Box<Case>>),
    Pin(Box<PinTried>),
    Interference(Interference),
    Joined(Level),
    Warning(String),
    Fatal(Error),
}

/// Makes attempts on one core.
pub(super) struct Worker<'a> {
    pub(super) queue: &'a Mutex<Queue>,
    pub(super) running: &'a Mutex<Running>,
    /// Its number among the workers.
    pub(super) number: usize,
    pub(super) core: usize,
    pub(super) stop_at_failure: bool,
    /// Whether failures are to be explained.
    pub(super) explains: bool,
    /// How many fork servers it may have.
    pub(super) fork_servers: usize,
}

/// What a worker does after a job.
enum Next {
    /// It tells of it, attaches files to the trace if there is one, and goes on.
    Tell(Message, Option<Pending>),
    /// It goes on: there is nothing to tell.
    GoOn,
    /// It stops working. Its attempt is still told as one under way.
    Leave,
}

impl Worker<'_> {
    /// Make attempts until there are none to make.
    pub(super) fn work(&self, setting: &Setting<'_>, interrupt: &Interrupt, sender: &Sender<Message>) {
        let mut fork_servers = ForkServers::new(self.fork_servers);
        loop {
            if self.stop_at_failure {
                setting.wait_for_judgement();
            }
            if interrupt.stop.load(Ordering::SeqCst) {
                return;
            }
            let taken = self.queue().take();
            let work = match taken {
                Take::Job(taken) => Work::Attempt(taken),
                Take::Pin(taken) => Work::Pin(taken),
                Take::Later => {
                    let warning = self.queue().ledger.registry.warning();
                    if !tell_warning(sender, warning) {
                        return;
                    }
                    thread::sleep(MOMENT);
                    continue;
                }
                Take::Nothing => return,
            };
            let job = work.job();
            let (name, seed) = (job.test.title().to_owned(), job.seed);
            let begun = Begun { worker: self.number, test: Arc::clone(&job.test), number: job.number };
            self.running().begin(begun, Instant::now());
            // A panic is a fault of ours. What it has left half done is not used again: the campaign ends.
            let next = panic::catch_unwind(AssertUnwindSafe(|| {
                let worker = AtWork { worker: self, setting, interrupt, sender };
                match work {
                    Work::Attempt(taken) => worker.attempt(*taken, &mut fork_servers),
                    Work::Pin(taken) => worker.pin(*taken),
                }
            }))
            .unwrap_or_else(|payload| {
                interrupt.stop.store(true, Ordering::SeqCst);
                let place = format!("in an attempt at `{name}` with seed {seed}");
                Next::Tell(Message::Fatal(panicked(&place, &*payload)), None)
            });
            if !matches!(next, Next::Leave) {
                self.running().end(self.number);
            }
            let goes_on = match next {
                Next::Tell(message, pending) => {
                    let told = sender.send(message).is_ok();
                    tell_warning(sender, pending.and_then(|pending| setting.attach(&pending, &[]))) && told
                }
                Next::GoOn => true,
                Next::Leave => false,
            };
            if !goes_on {
                return;
            }
            fork_servers.retain(|(test, ..)| self.queue().wants(test));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker has taken from the queue.
enum Work {
    Attempt(Box<Taken>),
    Pin(Box<TakenPin>),
}

impl Work {
    fn job(&self) -> &Job {
        match self {
            Self::Attempt(taken) => &taken.job,
            Self::Pin(taken) => &taken.job,
        }
    }
}

/// A worker that makes attempts, and whom it tells of them.
struct AtWork<'a> {
    worker: &'a Worker<'a>,
    setting: &'a Setting<'a>,
    interrupt: &'a Interrupt,
    sender: &'a Sender<Message>,
}

impl AtWork<'_> {
    /// Make an attempt, and judge it.
    fn attempt(&self, taken: Taken, fork_servers: &mut ForkServers) -> Next {
        let Taken { at, ticket, job } = taken;
        let Self { setting, .. } = *self;
        let core = self.worker.core;
        let mut base = fork_servers.of((at.test, at.build, job.order));
        let usual = job.patience;
        match setting.record(job.clone(), core, base.as_deref_mut(), &self.interrupt.stop) {
            // It took no more than others: there was no time left for it.
            Ok(made) if is_as_usual(&made.attempt, usual) => {
                self.queue().ledger.forget(ticket);
                Next::GoOn
            }
            // Nor was there for a first one.
            Ok(made)
                if made.outcome() == Outcome::Unfinished
                    && self.queue().had_no_chance(&at, made.attempt.effort.total()) =>
            {
                let mut queue = self.queue();
                queue.undo(&at);
                queue.ledger.forget(ticket);
                Next::GoOn
            }
            Ok(made) => self.judge(made, job, &at, ticket, base, |attempt| self.queue().learn(&at, attempt)),
            Err(error) => {
                let mut queue = self.queue();
                queue.ledger.forget(ticket);
                if matches!(error, Error::Stopped) {
                    queue.give_up_attempt(&at);
                }
                drop(queue);
                self.ended_by(error)
            }
        }
    }

    /// Try a pin; its test may then be tried otherwise.
    fn pin(&self, taken: TakenPin) -> Next {
        let test = taken.at.test;
        let next = self.try_pin(taken);
        self.queue().tried(test);
        next
    }

    /// Try a pin. Its attempts are told as one: the one that fails, if any does.
    fn try_pin(&self, taken: TakenPin) -> Next {
        let TakenPin { at, ticket, pin, job } = taken;
        let Self { setting, sender, .. } = *self;
        let core = self.worker.core;
        let file = job.pinned.clone().unwrap_or_default();
        let mut base = Base::Unknown;
        let attempt = |script: &Script| {
            let job = Job { script: Some(script.clone()), ..job.clone() };
            setting.record(job, core, Some(&mut base), &self.interrupt.stop)
        };
        let Trial { attempts, gone, last } = match trial(&pin, attempt) {
            Ok(trial) => trial,
            Err(error) => {
                let mut queue = self.queue();
                queue.ledger.forget(ticket);
                queue.give_up(file);
                drop(queue);
                return self.ended_by(error);
            }
        };
        let tried = |fails| {
            let test = Arc::clone(&job.test);
            Message::Pin(Box::new(PinTried { test, file: Arc::clone(&file), attempts, fails, gone }))
        };
        let ended = last.as_ref().map(|(_, made)| made.outcome());
        match (ended, last) {
            (Some(outcome), Some((script, made))) if outcome.is_failure() || outcome == Outcome::Error => {
                let job = Job { script: Some(script), ..job.clone() };
                let next = self.judge(made, job, &at, ticket, Some(&mut base), |_| ());
                let fails = match &next {
                    Next::Tell(Message::Done(attempt, _), _) if attempt.outcome.is_failure() => true,
                    Next::Tell(Message::Done(attempt, _), _) if attempt.outcome == Outcome::Passed => false,
                    // What went wrong on our side is told by the attempt.
                    _ => return next,
                };
                if sender.send(tried(fails)).is_err() { Next::Leave } else { next }
            }
            (ended, last) => {
                let mut queue = self.queue();
                if let Some((_, made)) = &last {
                    queue.ledger.end(ticket, &made.claims());
                }
                queue.ledger.forget(ticket);
                if ended == Some(Outcome::Unfinished) {
                    queue.give_up(Arc::clone(&file));
                }
                drop(queue);
                // Why a test cannot be recorded, its other attempts tell.
                if ended == Some(Outcome::Passed) && sender.send(tried(false)).is_err() {
                    return Next::Leave;
                }
                Next::GoOn
            }
        }
    }

    /// Judge an attempt that has ended; `learn` from what it has come to.
    fn judge(
        &self,
        made: Made,
        job: Job,
        at: &At,
        ticket: Ticket,
        base: Option<&mut Base>,
        learn: impl FnOnce(&Attempt),
    ) -> Next {
        let Self { setting, interrupt, sender, .. } = *self;
        let Worker { queue, core, stop_at_failure, explains, .. } = *self.worker;
        let place = Place { queue, setting, core, stop: &interrupt.stop };
        let (made, interference) = place.settle(made, job.clone(), at, ticket, base);
        let tell = |interference| sender.send(Message::Interference(interference)).is_ok();
        if !interference.is_none_or(tell) {
            return Next::Leave;
        }
        let mut attempt = setting.judge(made, core, &interrupt.stop);
        learn(&attempt);
        let warning = self.queue().ledger.registry.warning();
        if !tell_warning(sender, warning) {
            return Next::Leave;
        }
        if stop_at_failure && attempt.outcome.is_failure() {
            interrupt.stop.store(true, Ordering::SeqCst);
        }
        let case = if explains { Case::of(&mut attempt, job, setting) } else { None };
        // What is to be explained has its files attached to the trace that is kept in the end.
        let pending = if case.is_none() { setting.to_attach(&attempt) } else { None };
        Next::Tell(Message::Done(Box::new(attempt), case.map(Box::new)), pending)
    }

    /// There is no attempt, for this reason.
    fn ended_by(&self, error: Error) -> Next {
        if matches!(error, Error::Stopped) {
            return Next::Leave;
        }
        self.interrupt.stop.store(true, Ordering::SeqCst);
        Next::Tell(Message::Fatal(error), None)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.worker.queue()
    }
}

/// Tell of a warning, if there is one. Returns whether somebody listens.
fn tell_warning(sender: &Sender<Message>, warning: Option<String>) -> bool {
    warning.is_none_or(|warning| sender.send(Message::Warning(warning)).is_ok())
}

/// Whether an attempt that was cut off had taken no longer by then than one that has ended.
pub(super) fn is_as_usual(attempt: &Attempt, usual: Option<Patience>) -> bool {
    let longest = usual.map(|usual| usual.longest);
    attempt.outcome == Outcome::Unfinished && longest.is_some_and(|longest| attempt.effort.total() <= longest)
}
