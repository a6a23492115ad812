//! A worker makes attempts on one core, and tells of them.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rrtest_engine::Error;
use rrtest_engine::patience::Patience;

use super::doubt::Place;
use super::queue::{MOMENT, Queue, Take, Taken};
use crate::attempt::events::{Attempt, Interference};
use crate::attempt::record::Setting;
use crate::attempt::templates::Templates;
use crate::base::interrupt::Interrupt;
use crate::build::instrument::Level;
use crate::ending::outcome::Outcome;

/// What a worker tells the dispatcher.
pub(super) enum Message {
    Done(Box<Attempt>),
    Interference(Interference),
    Joined(Level),
    Warning(String),
    Fatal(Error),
}

/// Makes attempts on one core.
pub(super) struct Worker<'a> {
    pub(super) queue: &'a Mutex<Queue>,
    pub(super) core: usize,
    pub(super) stop_at_failure: bool,
    /// How many templates it may have.
    pub(super) templates: usize,
}

impl Worker<'_> {
    /// Make attempts until there are none to make.
    pub(super) fn work(&self, setting: &Setting<'_>, interrupt: &Interrupt, sender: &Sender<Message>) {
        let lock = || self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether somebody listens.
        let tell = |message: Message| sender.send(message).is_ok();
        let tell_warning = |warning: Option<String>| warning.map(Message::Warning).is_none_or(tell);
        let mut templates = Templates::new(self.templates);
        loop {
            if self.stop_at_failure {
                setting.wait_for_judgement();
            }
            if interrupt.stop.load(Ordering::SeqCst) {
                return;
            }
            let taken = lock().take();
            let Taken { at, ticket, job } = match taken {
                Take::Job(taken) => *taken,
                Take::Later => {
                    let warning = lock().ledger.registry.warning();
                    if !tell_warning(warning) {
                        return;
                    }
                    thread::sleep(MOMENT);
                    continue;
                }
                Take::Nothing => return,
            };
            let mut base = templates.of((at.test, at.build, job.order));
            let usual = job.patience;
            let made = setting.record(job.clone(), self.core, base.as_deref_mut(), &interrupt.stop);
            let message = match made {
                // It took no more than others: there was no time left for it.
                Ok(made) if is_as_usual(&made.attempt, usual) => {
                    lock().ledger.forget(ticket);
                    continue;
                }
                Ok(made) => {
                    let place = Place { queue: self.queue, setting, core: self.core, stop: &interrupt.stop };
                    let (made, interference) = place.settle(made, job, &at, ticket, base);
                    if !interference.map(Message::Interference).is_none_or(tell) {
                        return;
                    }
                    let attempt = setting.judge(made, self.core, &interrupt.stop);
                    let warning = {
                        let mut queue = lock();
                        queue.learn(&at, &attempt);
                        queue.ledger.registry.warning()
                    };
                    if !tell_warning(warning) {
                        return;
                    }
                    if self.stop_at_failure && attempt.outcome.is_failure() {
                        interrupt.stop.store(true, Ordering::SeqCst);
                    }
                    Message::Done(Box::new(attempt))
                }
                Err(error) => {
                    lock().ledger.forget(ticket);
                    if matches!(error, Error::Stopped) {
                        return;
                    }
                    interrupt.stop.store(true, Ordering::SeqCst);
                    Message::Fatal(error)
                }
            };
            if !tell(message) {
                return;
            }
            templates.retain(|(test, ..)| lock().wants(test));
        }
    }
}

/// Whether an attempt that was cut off had taken no longer by then than one that has ended.
pub(super) fn is_as_usual(attempt: &Attempt, usual: Option<Patience>) -> bool {
    let longest = usual.map(|usual| usual.longest);
    attempt.outcome == Outcome::Unfinished && longest.is_some_and(|longest| attempt.effort.total() <= longest)
}
