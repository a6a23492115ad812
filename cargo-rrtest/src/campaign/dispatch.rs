//! The dispatcher starts a worker on each core, and reports what they tell until the last of them has ended.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::agenda::{Agenda, Other, Subject};
use super::queue::Queue;
use super::registry::Registry;
use super::running::Running;
use super::worker::{Message, Worker};
use crate::attempt::events::{Reporter, RunEvent, Started, Summary, tell};
use crate::attempt::fork_servers::ForkServers;
use crate::attempt::record::Setting;
use crate::base::exit::{CliError, panicked};
use crate::base::interrupt::Interrupt;
use crate::discover::test::Test;
use crate::ending::explanation::Explanation;
use crate::explain::case::Case;
use crate::explain::{Answer, explain};

/// For so many attempts of a test on a core a fork server is made, which costs two starts.
const WORTH_A_TEMPLATE: u64 = 3;

/// How often to look at what the workers are at, if they tell nothing.
const LOOK: Duration = Duration::from_millis(250);

/// By how much the time of a campaign may be exceeded, as one part in so many.
const EXCEEDED: u32 = 20;

/// Make the attempts, one at a time on each of `cores`, and report them as they end. Sets the interrupt's stop flag when
/// the campaign is over.
pub(crate) fn run(
    subject: Subject<'_>,
    schedule: Agenda,
    setting: &Setting<'_>,
    cores: &[usize],
    interrupt: &Interrupt,
    reporters: &mut [Box<dyn Reporter + '_>],
) -> Result<Summary, CliError> {
    let Subject { tests, pins, ignored, level, other } = subject;
    let start = Instant::now();
    let longest = schedule.time.map(|time| time + time / EXCEEDED);
    let last = longest.and_then(|longest| start.checked_add(longest));
    let mut binaries: Vec<_> = tests.iter().map(|test| test.binary.clone()).collect();
    binaries.dedup();
    let mut summary = Summary::of_none(tests.len(), tests.iter().any(Test::is_together));
    let registry = Registry::open(setting.in_use.as_deref());
    let which = tests.iter().map(Test::which).collect();
    let mut queue = Queue::new(tests, pins, level, schedule.clone(), registry);
    let started = Started {
        tests: summary.tests,
        which,
        ignored,
        together: summary.together,
        binaries: binaries.len(),
        slots: cores.len(),
        seed: queue.seed,
        attempts: schedule.runs_here().map(|runs| runs.saturating_mul(summary.tests as u64)),
        time: schedule.time,
        until_fail: schedule.until_fail,
        shard: schedule.shard,
    };
    tell(reporters, &RunEvent::Started(started))?;
    let coming = match other {
        Some((level, Other::Ready(Ok(tests)))) => {
            queue.join(tests, level);
            tell(reporters, &RunEvent::Joined(level))?;
            None
        }
        Some((_, Other::Ready(Err(warning)))) => {
            tell(reporters, &RunEvent::Warning(warning))?;
            None
        }
        Some((level, Other::Coming(build))) => Some((level, build)),
        None => None,
    };
    let queue = Mutex::new(queue);
    let running = Mutex::new(Running::default());
    let at_work = AtomicUsize::new(cores.len());
    let mut cases = Vec::new();
    let ended = thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let few = |runs: u64| runs.div_ceil(cores.len() as u64) < WORTH_A_TEMPLATE;
        let fork_servers =
            if schedule.runs_here().is_some_and(few) { 0 } else { ForkServers::share(cores.len()) };
        for (number, core) in cores.iter().enumerate() {
            let (queue, running, sender, at_work) = (&queue, &running, sender.clone(), &at_work);
            let worker = Worker {
                queue,
                running,
                number,
                core: *core,
                stop_at_failure: schedule.until_fail && !schedule.keep_going,
                explains: schedule.explain.is_some(),
                fork_servers,
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
        let result = dispatch(&receiver, last, &running, interrupt, &mut summary, &mut cases, reporters);
        interrupt.stop.store(true, Ordering::SeqCst);
        result
    });
    ended?;
    summary.wall = start.elapsed();
    summary.interrupted = interrupt.by_user();
    let core = cores.first().copied().unwrap_or(0);
    explain_all(&cases, &schedule, setting, core, interrupt, reporters)?;
    let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.explored = queue.explored();
    summary.covered = queue.covered();
    let untried = queue.untried();
    // Who has found a failure looks for no other.
    if !untried.is_empty() && !summary.interrupted && summary.failures == 0 {
        let warning = format!("there was no time to try {}", untried.join(", "));
        tell(reporters, &RunEvent::Warning(warning))?;
    }
    if queue.is_over() && !summary.interrupted {
        summary.never_ended = queue.never_ended();
    }
    Ok(summary)
}

/// Finds out what failures need, now that no other attempt is under way, and attaches files to their traces. After
/// Ctrl-C it only does the latter.
fn explain_all(
    cases: &[Case],
    schedule: &Agenda,
    setting: &Setting<'_>,
    core: usize,
    interrupt: &Interrupt,
    reporters: &mut [Box<dyn Reporter + '_>],
) -> Result<(), CliError> {
    let mut left = schedule.explain.unwrap_or_default();
    let mut unexplained = Vec::new();
    for case in cases {
        let start = Instant::now();
        // The recorder binds its thread to a core.
        let asked = thread::scope(|scope| {
            let stop = &interrupt.by_user;
            let keep = schedule.keep_original;
            scope.spawn(move || explain(setting, case, core, stop, left, keep)).join()
        });
        let (answer, fault) = match asked {
            Ok(Ok(answer)) => (Some(answer), None),
            Ok(Err(why)) => {
                unexplained.push(why);
                (None, None)
            }
            Err(payload) => (None, Some(panicked("while a failure was explained", &*payload))),
        };
        left = left.saturating_sub(start.elapsed());
        let explanation = answer.as_ref().map(|answer| answer.explained.explanation.clone());
        if let Some(Answer { explained, warning }) = answer {
            tell(reporters, &RunEvent::Explained(Box::new(explained)))?;
            warning.into_iter().try_for_each(|warning| tell(reporters, &RunEvent::Warning(warning)))?;
        }
        let files = explanation.as_ref().map(Explanation::files).unwrap_or_default();
        if let Some(warning) = case.attach.as_ref().and_then(|pending| setting.attach(pending, &files)) {
            tell(reporters, &RunEvent::Warning(warning))?;
        }
        if let Some(fault) = fault {
            return Err(fault.into());
        }
    }
    let mut unexplained = unexplained.into_iter().filter(|_| !interrupt.by_user());
    let Some(mut why) = unexplained.next() else { return Ok(()) };
    match unexplained.count() as u64 {
        0 => {}
        others => {
            why += &format!(
                "\n  nor {} explained",
                if others == 1 { "is 1 more".to_owned() } else { format!("are {others} more") }
            )
        }
    }
    tell(reporters, &RunEvent::Warning(why))
}

/// Read what the workers say until the last of them has ended. What still goes on at the moment `last` is given up.
fn dispatch(
    receiver: &mpsc::Receiver<Message>,
    last: Option<Instant>,
    running: &Mutex<Running>,
    interrupt: &Interrupt,
    summary: &mut Summary,
    cases: &mut Vec<Case>,
    reporters: &mut [Box<dyn Reporter + '_>],
) -> Result<(), CliError> {
    let mut fatal = None;
    let running = || running.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // After that there is nothing to wait for but the workers' end.
        let message = if interrupt.stop.load(Ordering::SeqCst) {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            let left = last.map(|last| last.saturating_duration_since(Instant::now()));
            receiver.recv_timeout(left.unwrap_or(LOOK).min(LOOK))
        };
        let changes = running().changes();
        changes.iter().try_for_each(|change| tell(reporters, change))?;
        match message {
            Ok(Message::Done(attempt, case)) => {
                cases.extend(case.map(|case| *case));
                summary.count(&attempt);
                tell(reporters, &RunEvent::Attempt(attempt))?;
            }
            Ok(Message::Pin(tried)) => {
                summary.pins.count(&tried);
                let warning = tried.warning().map(RunEvent::Warning);
                warning.into_iter().try_for_each(|warning| tell(reporters, &warning))?;
                tell(reporters, &RunEvent::Pin(tried))?;
            }
            Ok(Message::Interference(interference)) => {
                tell(reporters, &RunEvent::Interference(interference))?
            }
            Ok(Message::Joined(level)) => tell(reporters, &RunEvent::Joined(level))?,
            Ok(Message::Warning(warning)) => tell(reporters, &RunEvent::Warning(warning))?,
            Ok(Message::Fatal(error)) => fatal = fatal.or(Some(error)),
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                if last.is_some_and(|last| now >= last) {
                    interrupt.stop.store(true, Ordering::SeqCst);
                }
                let slow = running().slow(now);
                slow.into_iter().try_for_each(|slow| tell(reporters, &RunEvent::Slow(slow)))?;
            }
            Err(RecvTimeoutError::Disconnected) => {
                // Attempts that Ctrl-C has ended are told by nobody else.
                if interrupt.by_user() {
                    summary.running = running().all(Instant::now());
                }
                return fatal.map_or(Ok(()), |error| Err(error.into()));
            }
        }
    }
}

/// The time to give a campaign that is to be over after this one: what is cut off at its end takes a moment more.
pub(crate) fn within(time: Duration) -> Duration {
    time / (EXCEEDED + 1) * EXCEEDED
}

/// The file in which all `cargo rrtest` on the machine see what the others' attempts use.
pub(crate) fn in_use() -> PathBuf {
    Registry::place()
}
