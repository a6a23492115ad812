//! The campaign: attempts at the tests in turn, at those that take long less often, until a failure, a number or a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rrtest_engine::Error;
use rrtest_engine::patience::{Patience, Usual};
use rrtest_engine::schedule::StrategyName;
use rrtest_engine::schedule::explore::{self, Explorer};
use rrtest_engine::schedule::portfolio::{self, Measured};

use crate::attempt::{Job, Setting};
use crate::discover::Test;
use crate::events::{Attempt, Event, Explored, NeverEnded, Reporter, Started, Summary};
use crate::exit::Stop;
use crate::instrument::Level;
use crate::interrupt::Interrupt;
use crate::order::{self, Order};
use crate::outcome::Outcome;
use crate::seed::Seed;
use crate::templates::Templates;

/// After so many errors of ours a test is left out: it would only repeat them.
const MAX_ERRORS: u32 = 3;

/// For so many attempts of a test on a core a template is made, which costs two starts.
const WORTH_A_TEMPLATE: u64 = 3;

/// So many attempts at plain accesses are made soon.
const FIRST: u32 = 5;

/// How long a worker waits until it asks again, when all depends on what others are doing.
const MOMENT: Duration = Duration::from_millis(1);

/// An attempt at a build of which none has ended may take so many times as long as at another one.
const OTHER_BUILD: u32 = 10;

/// Of the time that is left, a test of which no attempt has ended gets so much for one as long as others wait for their first.
const FIRST_SHARE: (u32, u32) = (3, 4);

/// By how much the time of a campaign may be exceeded, as one part in so many: for an attempt that is about to end; and for all.
const ABOUT_TO_END: u32 = 50;
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

/// What is known of a test while the campaign runs.
#[derive(Debug)]
struct Progress {
    id: String,
    /// Its builds; at first there is one.
    builds: Vec<Build>,
    attempts: u64,
    /// Those of them of which something is known.
    judged: u64,
    /// What schedules there are, if all are to be gone through.
    explorer: Option<Explorer>,
    errors: u32,
    left_out: bool,
}

impl Progress {
    /// What attempts at the build of this index usually take; none if none has ended.
    fn patience(&self, build: usize) -> Option<Patience> {
        let others =
            || self.builds.iter().filter_map(|build| build.usual.patience()).max_by_key(|it| it.usual);
        self.builds[build].usual.patience().or_else(|| Some(others()?.times(OTHER_BUILD)))
    }

    /// How much it has had, in a measure by which the test with the least is next.
    ///
    /// Nobody knows which test has a bug. If each is as likely to, and each attempt as likely to show it, the expected time until it
    /// shows is least where time is shared in the ratio of the roots of what an attempt takes: a test whose attempts take a hundred times as
    /// long has a tenth of the attempts. This is the square of the attempts divided by such a share.
    fn share(&self) -> u128 {
        let (ended, spent) = self.builds.iter().fold((0, Duration::ZERO), |(ended, spent), build| {
            (ended + u128::from(build.ended), spent + build.spent)
        });
        match (self.attempts, ended) {
            (0, _) => 0,
            // It may take for ever.
            (_, 0) => u128::MAX,
            (attempts, ended) => u128::from(attempts).pow(2).saturating_mul(spent.as_nanos() / ended),
        }
    }
}

/// A build of a test.
#[derive(Debug)]
struct Build {
    test: Arc<Test>,
    level: Level,
    /// What its attempts have measured.
    measured: Measured,
    /// What those took that ended by themselves.
    usual: Usual,
    /// Attempts that have begun, and those of them that have ended.
    begun: u32,
    ended: u32,
    /// How long these took.
    spent: Duration,
}

impl Build {
    fn new(test: Test, level: Level) -> Self {
        let test = Arc::new(test);
        Self {
            test,
            level,
            measured: Measured::default(),
            usual: Usual::default(),
            begun: 0,
            ended: 0,
            spent: Duration::ZERO,
        }
    }

    /// How much time its attempts will have taken, with those under way, as far as that counts: the build with the least is next.
    ///
    /// Each level finds bugs that the other misses, and nobody knows which a test has. At `memory` there are many more places to
    /// preempt a thread. Bugs in plain accesses are shallow, and mostly show in a few attempts: at first it has two of three. But what
    /// takes several preemptions at the right places is hard to find among so many: after that `sync` has seven eighths of the time.
    fn share(&self) -> Duration {
        let counted = match self.level {
            Level::Memory => self.begun.saturating_add(self.begun.saturating_sub(FIRST).saturating_mul(13)),
            _ => self.begun.saturating_mul(2),
        };
        match (self.begun, self.ended) {
            (0, _) => Duration::ZERO,
            // The second has to know what the first one measures: another build goes first, if there is one.
            (_, 0) => Duration::MAX,
            (_, ended) => self.spent / ended * counted,
        }
    }
}

/// Which attempt is next. The workers take from it in turn.
#[derive(Debug)]
struct Queue {
    tests: Vec<Progress>,
    /// The next test's index.
    next: usize,
    schedule: Schedule,
    seed: Seed,
    /// When the time is over, if it is limited.
    deadline: Option<Instant>,
}

impl Queue {
    /// All begins now.
    fn new(tests: Vec<Test>, level: Level, schedule: Schedule) -> Self {
        let progress = |test: Test| Progress {
            id: test.id(),
            builds: vec![Build::new(test, level)],
            attempts: 0,
            judged: 0,
            explorer: schedule.bound.map(Explorer::new),
            errors: 0,
            left_out: false,
        };
        let only = schedule.runs == Some(1);
        let seed = schedule.seed.unwrap_or_else(|| Seed::arbitrary(&schedule.strategies, only));
        let deadline = schedule.time.and_then(|time| Instant::now().checked_add(time));
        Self { tests: tests.into_iter().map(progress).collect(), next: 0, schedule, seed, deadline }
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// When to cut off an attempt at a test that begins now.
    fn until(&self, index: usize) -> Option<Instant> {
        let (deadline, time) = (self.deadline?, self.schedule.time?);
        let others_wait =
            || (0..self.tests.len()).any(|index| self.tests[index].attempts == 0 && self.wants(index));
        Some(match self.tests[index].judged {
            0 if others_wait() => {
                let now = Instant::now();
                let (part, of) = FIRST_SHARE;
                now + deadline.saturating_duration_since(now) / of * part
            }
            // What its threads do takes some time to say.
            0 => deadline,
            _ => deadline + time / ABOUT_TO_END,
        })
    }

    /// The tests of which nothing is known.
    fn never_ended(&self) -> Vec<NeverEnded> {
        let unknown = self.tests.iter().filter(|progress| progress.judged == 0);
        unknown
            .map(|progress| NeverEnded {
                test: Arc::clone(&progress.builds[0].test),
                attempts: progress.attempts,
            })
            .collect()
    }

    /// Another build of the tests has been made.
    fn join(&mut self, tests: Vec<Test>, level: Level) {
        for test in tests {
            let id = test.id();
            let Some(progress) = self.tests.iter_mut().find(|progress| progress.id == id) else { continue };
            progress.builds.push(Build::new(test, level));
        }
    }

    /// The next attempt.
    fn take(&mut self) -> Take {
        if self.is_over() {
            return Take::Nothing;
        }
        let count = self.tests.len();
        let ready = |index: &usize| {
            let explorer = self.tests[*index].explorer.as_ref();
            self.wants(*index) && explorer.is_none_or(Explorer::has_next)
        };
        // Of those that have had as much, in turn.
        let in_turn = (0..count).map(|offset| (self.next + offset) % count);
        let next = in_turn.filter(ready).min_by_key(|index| self.tests[*index].share());
        let Some(index) = next else {
            return if (0..count).any(|index| self.wants(index)) { Take::Later } else { Take::Nothing };
        };
        self.next = (index + 1) % count;
        let progress = &mut self.tests[index];
        let shares = progress.builds.iter_mut().enumerate();
        let Some((at, build)) = shares.min_by_key(|(_, build)| build.share()) else { return Take::Nothing };
        // Each build has its own turns. One that has joined has none that is fair: the first build has had that.
        let turn = u64::from(build.begun) + u64::from(at > 0);
        let strategy = portfolio::strategy(turn, &self.schedule.strategies);
        build.begun += 1;
        progress.attempts += 1;
        let number = progress.attempts;
        let schedule = progress.explorer.as_mut().and_then(Explorer::take);
        // A single attempt has nothing to teach.
        let measure =
            schedule.is_none() && build.measured == Measured::default() && self.schedule.runs != Some(1);
        let seed = match (&schedule, number) {
            (Some(schedule), _) => Seed::systematic(schedule),
            (None, 1) => self.seed,
            (None, _) => self.seed.derive(&progress.id, number, strategy, &build.measured),
        };
        // What is measured is to hold for most others, too.
        let seed = if measure && number > 1 { order::usual(seed) } else { seed };
        let (test, level) = (Arc::clone(&build.test), build.level);
        let patience = progress.patience(at);
        let order = Order::of(seed, &self.schedule.strategies, &test);
        let job = Job { test, level, number, seed, order, measure, patience, until: self.until(index) };
        Take::Job(Box::new(Taken { at: At { test: index, build: at, schedule }, job }))
    }

    /// Whether there will be more attempts of the test of this index.
    fn wants(&self, index: usize) -> bool {
        let test = &self.tests[index];
        !test.left_out
            && self.schedule.runs.is_none_or(|runs| test.attempts < runs)
            && test.explorer.as_ref().is_none_or(|explorer| !explorer.is_over())
    }

    /// How far the schedules of each test have been gone through, if that was to be done.
    fn explored(&self) -> Vec<Explored> {
        let explored = |progress: &Progress| {
            let explorer = progress.explorer.as_ref()?;
            Some(Explored {
                test: progress.id.clone(),
                bound: self.schedule.bound?,
                schedules: explorer.explored(),
                strayed: explorer.strayed(),
                complete: explorer.is_complete(),
                at_once: explorer.at_once(),
            })
        };
        self.tests.iter().filter_map(explored).collect()
    }

    /// Learn from an attempt.
    fn learn(&mut self, taken: &At, attempt: &Attempt) {
        let progress = &mut self.tests[taken.test];
        if attempt.outcome == Outcome::Unfinished {
            return;
        }
        progress.judged += 1;
        if let (Some(explorer), Some(schedule)) = (&mut progress.explorer, &taken.schedule) {
            explorer.ended(schedule, &attempt.decided);
        }
        progress.errors += u32::from(attempt.outcome == Outcome::Error);
        progress.left_out |= attempt.outcome == Outcome::Unsupported || progress.errors >= MAX_ERRORS;
        let build = &mut progress.builds[taken.build];
        // What hangs makes more ticks than any other attempt should be expected to.
        if attempt.outcome != Outcome::Hung {
            build.measured.learn(&attempt.measured);
        }
        if attempt.outcome.is_end() {
            build.usual.learn(attempt.effort);
        }
        build.ended += 1;
        build.spent += attempt.wall;
    }
}

/// What a worker is to do.
enum Take {
    Job(Box<Taken>),
    /// Nothing as long as no attempt under way has ended.
    Later,
    /// All has been handed out.
    Nothing,
}

/// An attempt that has been handed out.
struct Taken {
    at: At,
    job: Job,
}

/// What an attempt is one of.
struct At {
    /// The indices of its test, and of the build of that.
    test: usize,
    build: usize,
    /// The schedule that it tries, if all are to be gone through.
    schedule: Option<explore::Schedule>,
}

/// What a worker tells the dispatcher.
enum Message {
    Done(Box<Attempt>),
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
    let mut queue = Queue::new(tests, level, schedule.clone());
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
            let Taken { at, job } = match taken {
                Take::Job(taken) => *taken,
                Take::Later => {
                    thread::sleep(MOMENT);
                    continue;
                }
                Take::Nothing => return,
            };
            let base = templates.of((at.test, at.build, job.order));
            let usual = job.patience;
            let message = match setting.attempt(job, self.core, base, &interrupt.stop) {
                // It took no more than others: there was no time left for it.
                Ok(attempt) if is_as_usual(&attempt, usual) => continue,
                Ok(attempt) => {
                    lock().learn(&at, &attempt);
                    if self.stop_at_failure && attempt.outcome.is_failure() {
                        interrupt.stop.store(true, Ordering::SeqCst);
                    }
                    Message::Done(Box::new(attempt))
                }
                Err(Error::Stopped) => return,
                Err(error) => {
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

/// Let all reports see an event.
pub(crate) fn tell(reporters: &mut [Box<dyn Reporter + '_>], event: &Event) -> Result<(), Stop> {
    reporters.iter_mut().try_for_each(|reporter| reporter.report(event))
}

#[cfg(test)]
#[path = "campaign_tests.rs"]
mod tests;
