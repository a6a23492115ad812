//! The campaign: attempts at the tests in turn, at those that take long less often, until a failure, a number or a time.

mod doubt;
mod ledger;
mod queue;
mod registry;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::patience::Patience;
use rrtest_engine::schedule::StrategyName;

use crate::attempt::Setting;
use crate::discover::Test;
use crate::events::{Attempt, Event, Interference, Reporter, Started, Summary};
use crate::exit::Stop;
use crate::instrument::Level;
use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::seed::Seed;
use crate::templates::Templates;
use doubt::Place;
use queue::{Queue, Take, Taken};
use registry::Registry;

/// For so many attempts of a test on a core a template is made, which costs two starts.
const WORTH_A_TEMPLATE: u64 = 3;

/// How long a worker waits until it asks again, when all depends on what others are doing.
const MOMENT: Duration = Duration::from_millis(1);

/// By how much the time of a campaign may be exceeded, as one part in so many.
const EXCEEDED: u32 = 20;

/// What attempts to make.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Attempts of each test, if limited.
    pub(crate) runs: Option<u64>,
    /// Time in all, if limited.
    pub(crate) time: Option<Duration>,
    /// End at the first failure.
    pub(crate) until_fail: bool,
    /// Do not, but count failures.
    pub(crate) keep_going: bool,
    /// The strategies that the user has chosen; empty means the portfolio.
    pub(crate) strategies: Vec<StrategyName>,
    /// Go through all schedules with at most so many preemptions instead.
    pub(crate) bound: Option<usize>,
    /// The seed of the first attempt of each test, from which those of all others are derived; by default any.
    pub(crate) seed: Option<Seed>,
}

/// The tests of another build. An error is for the user to know, and no more.
pub(crate) type OtherTests = Result<Vec<Test>, String>;

/// Another build of the tests.
pub(crate) enum Other<'a> {
    /// It is there.
    Ready(OtherTests),
    /// This makes it, while attempts at the first build are being made. It is given up when the flag becomes true.
    Coming(&'a (dyn Fn(&AtomicBool) -> OtherTests + Sync)),
}

/// What attempts are made at.
pub(crate) struct Subject<'a> {
    /// The tests.
    pub(crate) tests: Vec<Test>,
    /// How they were built.
    pub(crate) level: Level,
    /// Another build of them with its level, if there is to be one.
    pub(crate) other: Option<(Level, Other<'a>)>,
}

/// What a worker tells the dispatcher.
enum Message {
    Done(Box<Attempt>),
    Interference(Interference),
    Joined(Level),
    Warning(String),
    Fatal(Error),
}

/// Make the attempts, one at a time on each of `cores`, and report them as they end. Sets the interrupt's stop flag when
/// the campaign is over.
pub(crate) fn run(
    subject: Subject<'_>,
    schedule: Schedule,
    setting: &Setting<'_>,
    cores: &[usize],
    interrupt: &Interrupt,
    reporters: &mut [Box<dyn Reporter + '_>],
) -> Result<Summary, Stop> {
    let Subject { tests, level, other } = subject;
    let start = Instant::now();
    let longest = schedule.time.map(|time| time + time / EXCEEDED);
    let last = longest.and_then(|longest| start.checked_add(longest));
    let mut binaries: Vec<_> = tests.iter().map(|test| test.binary.clone()).collect();
    binaries.dedup();
    let mut summary = Summary::of_none(tests.len(), tests.iter().any(Test::is_together));
    let registry = Registry::open(setting.in_use.as_deref());
    let mut queue = Queue::new(tests, level, schedule.clone(), registry);
    let started = Started {
        tests: summary.tests,
        together: summary.together,
        binaries: binaries.len(),
        slots: cores.len(),
        seed: queue.seed,
        attempts: schedule.runs.map(|runs| runs.saturating_mul(summary.tests as u64)),
        time: schedule.time,
        until_fail: schedule.until_fail,
    };
    tell(reporters, &Event::Started(started))?;
    let coming = match other {
        Some((level, Other::Ready(Ok(tests)))) => {
            queue.join(tests, level);
            tell(reporters, &Event::Joined(level))?;
            None
        }
        Some((_, Other::Ready(Err(warning)))) => {
            tell(reporters, &Event::Warning(warning))?;
            None
        }
        Some((level, Other::Coming(build))) => Some((level, build)),
        None => None,
    };
    let queue = Mutex::new(queue);
    let at_work = AtomicUsize::new(cores.len());
    let ended = thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let few = |runs: u64| runs.div_ceil(cores.len() as u64) < WORTH_A_TEMPLATE;
        let templates = if schedule.runs.is_some_and(few) { 0 } else { Templates::share(cores.len()) };
        for core in cores {
            let (queue, sender, at_work) = (&queue, sender.clone(), &at_work);
            let worker = Worker {
                queue,
                core: *core,
                stop_at_failure: schedule.until_fail && !schedule.keep_going,
                templates,
            };
            scope.spawn(move || {
                worker.work(setting, interrupt, &sender);
                if at_work.fetch_sub(1, Ordering::SeqCst) == 1 {
                    // No other build is wanted any more.
                    interrupt.stop.store(true, Ordering::SeqCst);
                }
            });
        }
        if let Some((level, build)) = coming {
            let queue = &queue;
            scope.spawn(move || {
                let message = match build(&interrupt.stop) {
                    // There is no attempt that it could have.
                    Ok(_) if interrupt.stop.load(Ordering::SeqCst) => return,
                    Ok(tests) => {
                        queue.lock().unwrap_or_else(PoisonError::into_inner).join(tests, level);
                        Message::Joined(level)
                    }
                    Err(warning) => Message::Warning(warning),
                };
                // Nobody listens when the campaign is over.
                drop(sender.send(message));
            });
        } else {
            drop(sender);
        }
        // Whatever ends this loop early must end the workers too, or the scope would wait for them.
        let result = dispatch(&receiver, last, interrupt, &mut summary, reporters);
        interrupt.stop.store(true, Ordering::SeqCst);
        result
    });
    ended?;
    summary.wall = start.elapsed();
    summary.interrupted = interrupt.by_user();
    let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.explored = queue.explored();
    if queue.is_over() && !summary.interrupted {
        summary.never_ended = queue.never_ended();
    }
    Ok(summary)
}

/// Read what the workers say until the last of them has ended. What still goes on at the moment `last` is given up.
fn dispatch(
    receiver: &mpsc::Receiver<Message>,
    last: Option<Instant>,
    interrupt: &Interrupt,
    summary: &mut Summary,
    reporters: &mut [Box<dyn Reporter + '_>],
) -> Result<(), Stop> {
    let mut fatal = None;
    loop {
        // After that there is nothing to wait for but the workers' end.
        let wait = last.filter(|_| !interrupt.stop.load(Ordering::SeqCst));
        let message = match wait {
            Some(last) => receiver.recv_timeout(last.saturating_duration_since(Instant::now())),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(Message::Done(attempt)) => {
                summary.count(&attempt);
                tell(reporters, &Event::Attempt(attempt))?;
            }
            Ok(Message::Interference(interference)) => tell(reporters, &Event::Interference(interference))?,
            Ok(Message::Joined(level)) => tell(reporters, &Event::Joined(level))?,
            Ok(Message::Warning(warning)) => tell(reporters, &Event::Warning(warning))?,
            Ok(Message::Fatal(error)) => fatal = fatal.or(Some(error)),
            Err(RecvTimeoutError::Timeout) => interrupt.stop.store(true, Ordering::SeqCst),
            Err(RecvTimeoutError::Disconnected) => return fatal.map_or(Ok(()), |error| Err(error.into())),
        }
    }
}

/// Makes attempts on one core.
struct Worker<'a> {
    queue: &'a Mutex<Queue>,
    core: usize,
    stop_at_failure: bool,
    /// How many templates it may have.
    templates: usize,
}

impl Worker<'_> {
    /// Make attempts until there are none to make.
    fn work(&self, setting: &Setting<'_>, interrupt: &Interrupt, sender: &Sender<Message>) {
        let lock = || self.queue.lock().unwrap_or_else(PoisonError::into_inner);
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
                    if warning.is_some_and(|warning| sender.send(Message::Warning(warning)).is_err()) {
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
                    if let Some(interference) = interference
                        && sender.send(Message::Interference(interference)).is_err()
                    {
                        return;
                    }
                    let attempt = setting.judge(made, self.core, &interrupt.stop);
                    let warning = {
                        let mut queue = lock();
                        queue.learn(&at, &attempt);
                        queue.ledger.registry.warning()
                    };
                    if warning.is_some_and(|warning| sender.send(Message::Warning(warning)).is_err()) {
                        return;
                    }
                    if self.stop_at_failure && attempt.outcome.is_failure() {
                        interrupt.stop.store(true, Ordering::SeqCst);
                    }
                    Message::Done(Box::new(attempt))
                }
                Err(Error::Stopped) => {
                    lock().ledger.forget(ticket);
                    return;
                }
                Err(error) => {
                    lock().ledger.forget(ticket);
                    interrupt.stop.store(true, Ordering::SeqCst);
                    Message::Fatal(error)
                }
            };
            if sender.send(message).is_err() {
                return;
            }
            templates.retain(|(test, ..)| lock().wants(test));
        }
    }
}

/// Whether an attempt that was cut off had taken no longer by then than one that has ended.
fn is_as_usual(attempt: &Attempt, usual: Option<Patience>) -> bool {
    let longest = usual.map(|usual| usual.longest);
    attempt.outcome == Outcome::Unfinished && longest.is_some_and(|longest| attempt.effort.total() <= longest)
}

/// The file in which all `cargo rrtest` on the machine see what the others' attempts use.
pub(crate) fn in_use() -> PathBuf {
    Registry::place()
}

/// Let all reports see an event.
pub(crate) fn tell(reporters: &mut [Box<dyn Reporter + '_>], event: &Event) -> Result<(), Stop> {
    reporters.iter_mut().try_for_each(|reporter| reporter.report(event))
}

#[cfg(test)]
mod tests;
