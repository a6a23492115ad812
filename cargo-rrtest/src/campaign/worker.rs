//! A worker makes attempts on one core, and tells of them.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rrtest_engine::Error;
use rrtest_engine::patience::Patience;

use super::doubt::Place;
use super::queue::{MOMENT, Queue, Take, Taken};
use crate::attempt::attach::Pending;
use crate::attempt::events::{Attempt, Begun, Interference};
use crate::attempt::fork_servers::ForkServers;
use crate::attempt::record::Setting;
use crate::base::exit::panicked;
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::ending::outcome::Outcome;
use crate::explain::case::Case;

/// What a worker tells the dispatcher.
pub(super) enum Message {
    Begun(Begun),
    Done(usize, Box<Attempt>, Option<Box<Case>>),
    Dropped(usize),
    Interference(Interference),
    Joined(Level),
    Warning(String),
    Fatal(Error),
}

/// Makes attempts on one core.
pub(super) struct Worker<'a> {
    pub(super) queue: &'a Mutex<Queue>,
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
    /// It stops working.
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
            let taken = match taken {
                Take::Job(taken) => *taken,
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
            let (name, seed) = (taken.job.test.title().to_owned(), taken.job.seed);
            let begun =
                Begun { worker: self.number, test: Arc::clone(&taken.job.test), number: taken.job.number };
            if sender.send(Message::Begun(begun)).is_err() {
                return;
            }
            // A panic is a fault of ours. What it has left half done is not used again: the campaign ends.
            let next = panic::catch_unwind(AssertUnwindSafe(|| {
                self.attempt(taken, setting, interrupt, sender, &mut fork_servers)
            }))
            .unwrap_or_else(|payload| {
                interrupt.stop.store(true, Ordering::SeqCst);
                let place = format!("in an attempt at `{name}` with seed {seed}");
                Next::Tell(Message::Fatal(panicked(&place, &*payload)), None)
            });
            let goes_on = match next {
                Next::Tell(message, pending) => {
                    let told = sender.send(message).is_ok();
                    tell_warning(sender, pending.and_then(|pending| setting.attach(&pending, &[]))) && told
                }
                Next::Leave => false,
            };
            if !goes_on {
                return;
            }
            fork_servers.retain(|(test, ..)| self.queue().wants(test));
        }
    }

    /// Make an attempt, and judge it.
    fn attempt(
        &self,
        taken: Taken,
        setting: &Setting<'_>,
        interrupt: &Interrupt,
        sender: &Sender<Message>,
        fork_servers: &mut ForkServers,
    ) -> Next {
        let Taken { at, ticket, job } = taken;
        let mut base = fork_servers.of((at.test, at.build, job.order));
        let usual = job.patience;
        let began = Instant::now();
        match setting.record(job.clone(), self.core, base.as_deref_mut(), &interrupt.stop) {
            // It took no more than others: there was no time left for it.
            Ok(made) if is_as_usual(&made.attempt, usual) => {
                self.queue().ledger.forget(ticket);
                Next::Tell(Message::Dropped(self.number), None)
            }
            // Nor was there for a first one.
            Ok(made)
                if made.outcome() == Outcome::Unfinished
                    && self.queue().had_no_chance(&at, made.attempt.effort.total()) =>
            {
                let mut queue = self.queue();
                queue.undo(&at);
                queue.ledger.forget(ticket);
                Next::Tell(Message::Dropped(self.number), None)
            }
            Ok(made) => {
                let place = Place { queue: self.queue, setting, core: self.core, stop: &interrupt.stop };
                let (made, interference) = place.settle(made, job.clone(), &at, ticket, base);
                let tell = |interference| sender.send(Message::Interference(interference)).is_ok();
                if !interference.is_none_or(tell) {
                    return Next::Leave;
                }
                let mut attempt = setting.judge(made, self.core, &interrupt.stop);
                let warning = {
                    let mut queue = self.queue();
                    queue.learn(&at, &attempt);
                    queue.ledger.registry.warning()
                };
                if !tell_warning(sender, warning) {
                    return Next::Leave;
                }
                if self.stop_at_failure && attempt.outcome.is_failure() {
                    interrupt.stop.store(true, Ordering::SeqCst);
                }
                let case = if self.explains { Case::of(&mut attempt, job, setting) } else { None };
                // What is to be explained has its files attached to the trace that is kept in the end.
                let pending = if case.is_none() { setting.to_attach(&attempt) } else { None };
                Next::Tell(Message::Done(self.number, Box::new(attempt), case.map(Box::new)), pending)
            }
            Err(error) => {
                let mut queue = self.queue();
                queue.ledger.forget(ticket);
                if matches!(error, Error::Stopped) {
                    if queue.had_no_chance(&at, began.elapsed()) {
                        queue.undo(&at);
                    }
                    return Next::Leave;
                }
                drop(queue);
                interrupt.stop.store(true, Ordering::SeqCst);
                Next::Tell(Message::Fatal(error), None)
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
